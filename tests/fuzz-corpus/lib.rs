//! What the fuzzer has found so far, for the ordinary tests: whatever once broke a law must never break it again, on any
//! machine and without a fuzzer.

use std::fs;
use std::path::Path;

/// Runs a law on every input that is kept for a target of fuzz/.
pub fn replay(target: &str, law: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    let mut inputs = 0;
    for entry in entries {
        let path = entry.expect("a readable entry").path();
        println!("{}", path.display()); // the last one shown is the one that broke the law
        law(&fs::read(&path).expect("a readable file"));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}
