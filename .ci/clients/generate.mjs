// Generates types.ts from the OpenAPI document openapi.json. A file is a Blob.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const blob = ts.factory.createTypeReferenceNode("Blob");
const document = JSON.parse(await readFile("openapi.json", "utf8"));
const types = await openapiTS(document, { transform: (schema) => (schema.format === "binary" ? blob : undefined) });
await writeFile("types.ts", astToString(types));
