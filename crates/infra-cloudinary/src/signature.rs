//! Request signatures.
//!
//! <https://cloudinary.com/documentation/authentication_signatures>

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Signs parameters with SHA-256, which every account accepts. File, resource type and API key are not signed.
pub(crate) fn sign(parameters: &[(String, String)], secret: &str) -> String {
    sign_with::<Sha256>(parameters, secret)
}

fn sign_with<D: Digest>(parameters: &[(String, String)], secret: &str) -> String {
    let mut pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort();
    let digest = D::digest(format!("{}{secret}", pairs.join("&")));
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // writing to a string cannot fail
        hex
    })
}

#[cfg(test)]
mod tests {
    use sha1::Sha1;

    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn signature_matches_the_example_of_the_documentation() {
        let upload = parameters(&[
            ("timestamp", "1315060510"),
            ("public_id", "sample_image"),
            ("eager", "w_400,h_300,c_pad|w_260,h_200,c_crop"),
        ]);
        assert_eq!(sign_with::<Sha1>(&upload, "abcd"), "bfd09f95f331f558cbd1320e67aa8d488770583e");
    }

    #[test]
    fn signature_matches_the_official_libraries() {
        let signed = parameters(&[
            ("username", "user@cloudinary.com"),
            ("timestamp", "1568810420"),
            ("cloud_name", "dn6ot3ged"),
        ]);
        assert_eq!(
            sign(&signed, "hdcixPpR2iKERPwqvH6sHdK9cyac"),
            "45ddaa4fa01f0c2826f32f669d2e4514faf275fe6df053f1a150e7beae58a3bd"
        );
    }
}
