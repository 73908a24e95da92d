//! Tidy: reads the source and the documents and holds what no compiler checks. Each failure says what to do.

mod documents;
mod layers;
mod places;
mod reference;
mod source;
mod sql;
mod style;
mod vocabulary;

/// What tidy's own reading is worth: if these fail, nothing else here means anything.
mod reading {
    use crate::rules::source::Source;

    fn source(text: &str) -> Source {
        Source::of("src/guestbook/open.rs".to_owned(), text.to_owned())
    }

    #[test]
    fn comments_and_texts_are_no_code() {
        let file = source(
            "let a = \"use crate::rules::x // no\"; // crate::rules::y\nlet b = 'a'; /* crate::rules::z */ let c: &'a str = r#\"\"q\"\"#;",
        );
        assert!(file.code.contains("let c: &'a str"), "{}", file.code);
        let texts: Vec<_> = file
            .literals
            .iter()
            .map(|(line, text)| (*line, text.as_str()))
            .collect();
        assert_eq!(texts, [(1, "use crate::rules::x // no"), (2, "q")]);
    }

    #[test]
    fn tests_are_not_what_ships() {
        let file = source(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { c.unwrap(); \"SELECT 1\"; }\n}\nfn d() {}\n#[cfg(test)]\nmod e;\nfn f() {}",
        );
        assert!(!file.code.contains("unwrap"), "{}", file.code);
        assert!(
            file.code.contains("fn d()")
                && file.code.contains("fn f()")
                && !file.code.contains("mod e")
        );
        assert!(file.literals.is_empty(), "{:?}", file.literals);
    }
}
