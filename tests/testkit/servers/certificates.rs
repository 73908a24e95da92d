//! Certificates for a server of this machine, signed by an authority made for the purpose.

use super::{program, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority, and a server's certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// For 127.0.0.1 and localhost, in this folder. Another call makes another authority, which nobody trusts.
    pub fn make(folder: &Path) -> Self {
        Self::make_for(folder, "IP:127.0.0.1,DNS:localhost")
    }

    /// For these names, as openssl writes them: `DNS:elsewhere.example`.
    pub fn make_for(folder: &Path, names: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        let openssl = |arguments: &str| {
            let mut command = Command::new(program("openssl", "openssl"));
            command.args(arguments.split(' ')).current_dir(folder);
            run(&mut command);
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!(
            "req -x509 {key} -keyout authority.key -out authority.pem -days 30 -subj /CN=guestbook-test-authority"
        ));
        openssl(&format!(
            "req -new {key} -keyout server.key -out server.request -subj /CN=guestbook-test-server"
        ));
        let extensions = format!(
            "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={names}\n"
        );
        fs::write(folder.join("extensions"), extensions).unwrap();
        openssl(
            "x509 -req -in server.request -CA authority.pem -CAkey authority.key -CAcreateserial -out server.pem -days 30 -extfile extensions",
        );
        Self {
            authority: folder.join("authority.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        }
    }
}
