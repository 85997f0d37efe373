//! The attribute `database_test`, which `test-support` re-exports.

use proc_macro::TokenStream;
use quote::quote;
use syn::{FnArg, Ident, ItemFn, Result, Token, Type, parse_macro_input, punctuated::Punctuated};

/// Runs an asynchronous test once on each database.
///
/// ```text
/// #[database_test]
/// async fn like_twice_counts_once(db: TestDatabase) {
///     let repositories = open(&db).await;
/// }
/// ```
///
/// expands to the tests `like_twice_counts_once::postgres` and `like_twice_counts_once::sqlite`. Each calls the
/// function with its own database: `TestDatabase::postgres().await` and `TestDatabase::sqlite().await`.
///
/// Arguments replace the list of databases, and the type of the parameter can be any type with asynchronous
/// constructors of these names: `#[database_test(postgres, sqlite, memory)] async fn test(store: Store)` calls
/// `Store::memory()` for its third test.
#[proc_macro_attribute]
pub fn database_test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let databases = parse_macro_input!(arguments with Punctuated::<Ident, Token![,]>::parse_terminated);
    let function = parse_macro_input!(item as ItemFn);
    expand(databases.into_iter().collect(), &function).unwrap_or_else(|error| error.to_compile_error().into())
}

fn expand(mut databases: Vec<Ident>, function: &ItemFn) -> Result<TokenStream> {
    let name = &function.sig.ident;
    if databases.is_empty() {
        databases = ["postgres", "sqlite"].map(|database| Ident::new(database, name.span())).into();
    }
    let parameter = parameter_type(function)?;
    Ok(quote! {
        #function

        mod #name {
            #[allow(unused_imports, clippy::wildcard_imports)]
            use super::*;
            #(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn #databases() {
                    super::#name(<#parameter>::#databases().await).await;
                }
            )*
        }
    }
    .into())
}

/// Returns the type of the only parameter.
fn parameter_type(function: &ItemFn) -> Result<&Type> {
    let mut parameters = function.sig.inputs.iter();
    match (parameters.next(), parameters.next(), function.sig.asyncness) {
        (Some(FnArg::Typed(parameter)), None, Some(_)) => Ok(&parameter.ty),
        _ => Err(syn::Error::new_spanned(&function.sig, "expected an async function with one parameter")),
    }
}
