//! The life of keys: made once, erased for ever, rewrapped, never shown.

use daybook_vault::{CACHE_LIFETIME, Error, KeyStore, MasterKeyError, MasterKeys, Opened, Secret, StoredKey};

use crate::{Bench, EMAIL, NEW_MASTER, OLD_MASTER, person, plain, run};

#[test]
fn an_erased_person_stays_erased() {
    let bench = Bench::new();
    let vault = bench.vault(&[OLD_MASTER]);
    let sealed = run(vault.seal(person(1), EMAIL, b"ada@example.org")).unwrap();
    let of_another = run(vault.seal(person(2), EMAIL, b"eve@example.org")).unwrap();

    assert!(run(vault.erase(person(1))).unwrap());
    assert!(!run(vault.erase(person(1))).unwrap(), "there is nothing left to destroy");

    assert!(matches!(run(vault.open(EMAIL, &sealed)), Ok(Opened::Erased)));
    let refused = run(vault.seal(person(1), EMAIL, b"back@example.org"));
    assert!(matches!(refused, Err(Error::Erased { .. })));
    let after_a_restart = bench.vault(&[OLD_MASTER]);
    assert!(matches!(run(after_a_restart.open(EMAIL, &sealed)), Ok(Opened::Erased)));
    let refused = run(after_a_restart.seal(person(1), EMAIL, b"back@example.org"));
    assert!(matches!(refused, Err(Error::Erased { .. })));
    assert_eq!(plain(run(vault.open(EMAIL, &of_another)).unwrap()), b"eve@example.org");
}

#[test]
fn a_person_can_be_erased_before_anything_was_sealed() {
    let vault = Bench::new().vault(&[OLD_MASTER]);
    assert!(!run(vault.erase(person(1))).unwrap());
    assert!(matches!(run(vault.seal(person(1), EMAIL, b"x")), Err(Error::Erased { .. })));
}

#[test]
fn an_erasure_by_another_process_takes_effect_within_the_lifetime() {
    let bench = Bench::new();
    let (here, elsewhere) = (bench.vault(&[OLD_MASTER]), bench.vault(&[OLD_MASTER]));
    let sealed = run(here.seal(person(1), EMAIL, b"ada@example.org")).unwrap();
    run(elsewhere.erase(person(1))).unwrap();

    assert!(matches!(run(here.open(EMAIL, &sealed)), Ok(Opened::Plain(_))));
    bench.ambient.pass(CACHE_LIFETIME);
    assert!(matches!(run(here.open(EMAIL, &sealed)), Ok(Opened::Erased)));
}

#[test]
fn forgetting_makes_an_erasure_by_another_process_immediate() {
    let bench = Bench::new();
    let (here, elsewhere) = (bench.vault(&[OLD_MASTER]), bench.vault(&[OLD_MASTER]));
    let sealed = run(here.seal(person(1), EMAIL, b"ada@example.org")).unwrap();
    run(elsewhere.erase(person(1))).unwrap();
    here.forget(person(1));
    assert!(matches!(run(here.open(EMAIL, &sealed)), Ok(Opened::Erased)));
}

#[test]
fn of_many_that_seal_first_at_once_one_key_wins() {
    let bench = Bench::new();
    let vaults: Vec<_> = (0..8).map(|_| bench.vault(&[OLD_MASTER])).collect();
    let start = std::sync::Barrier::new(vaults.len());
    let seal = |vault: &daybook_vault::Vault| {
        start.wait();
        run(vault.seal(person(1), EMAIL, b"ada@example.org")).unwrap()
    };
    let sealed: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = vaults.iter().map(|vault| scope.spawn(|| seal(vault))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for vault in &vaults {
        for value in &sealed {
            assert_eq!(plain(run(vault.open(EMAIL, value)).unwrap()), b"ada@example.org");
        }
    }
}

#[test]
fn a_value_whose_key_was_never_there_says_so() {
    let sealed = run(Bench::new().vault(&[OLD_MASTER]).seal(person(1), EMAIL, b"x")).unwrap();
    let other_store = Bench::new().vault(&[OLD_MASTER]);
    assert!(matches!(run(other_store.open(EMAIL, &sealed)), Err(Error::NoKey { .. })));
}

#[test]
fn rewrapping_lets_the_old_master_key_go() {
    let bench = Bench::new();
    let before = bench.vault(&[OLD_MASTER]);
    let sealed = run(before.seal(person(1), EMAIL, b"ada@example.org")).unwrap();
    run(before.seal(person(2), EMAIL, b"eve@example.org")).unwrap();
    run(before.erase(person(2))).unwrap();

    let too_early = bench.vault(&[NEW_MASTER]);
    assert_eq!(
        run(too_early.open(EMAIL, &sealed)).unwrap_err().to_string(),
        format!("the data key of {} is wrapped by master key `2025`: add it to the vault's master keys", person(1)),
    );

    let both = bench.vault(&[NEW_MASTER, OLD_MASTER]);
    assert_eq!(run(both.rewrap(100)).unwrap(), 1);
    assert_eq!(run(both.rewrap(100)).unwrap(), 0);

    let after = bench.vault(&[NEW_MASTER]);
    assert_eq!(plain(run(after.open(EMAIL, &sealed)).unwrap()), b"ada@example.org");
    assert_eq!(run(bench.store.load(person(2))).unwrap(), StoredKey::Erased);
}

#[test]
fn another_key_under_the_same_id_is_told() {
    let bench = Bench::new();
    let sealed = run(bench.vault(&[OLD_MASTER]).seal(person(1), EMAIL, b"x")).unwrap();
    let impostor = NEW_MASTER.replace("2026:", "2025:");
    let refused = run(bench.vault(&[&impostor]).open(EMAIL, &sealed));
    assert!(matches!(refused, Err(Error::WrongMasterKey { .. })));
}

#[test]
fn wrong_master_keys_are_refused_with_what_would_be_right() {
    let refusal = |entries: &[&str]| MasterKeys::parse(entries).unwrap_err();
    assert_eq!(refusal(&[]), MasterKeyError::None);
    assert_eq!(refusal(&["nocolon"]), MasterKeyError::NoId { position: 1 });
    assert_eq!(refusal(&[OLD_MASTER, "Big:AAAA"]), MasterKeyError::BadId { position: 2 });
    assert_eq!(refusal(&["a:!"]), MasterKeyError::NotBase64 { id: "a".into() });
    assert_eq!(refusal(&["a:AAAA"]), MasterKeyError::BadLength { id: "a".into(), found_bytes: 3 });
    assert_eq!(refusal(&[OLD_MASTER, OLD_MASTER]), MasterKeyError::Duplicate { id: "2025".into() });
    assert_eq!(refusal(&[OLD_MASTER; 17]), MasterKeyError::TooMany { found: 17 });
    assert_eq!(MasterKeys::parse(&[NEW_MASTER, OLD_MASTER]).unwrap().newest(), "2026");
}

#[test]
fn nothing_printed_shows_a_secret() {
    let bench = Bench::new();
    let vault = bench.vault(&[OLD_MASTER]);
    let sealed = run(vault.seal(person(1), EMAIL, b"ada@example.org")).unwrap();
    let opened = run(vault.open(EMAIL, &sealed)).unwrap();
    assert_eq!(format!("{opened:?}"), "Plain((redacted))");
    assert_eq!(format!("{vault:?}"), "Vault { masters: [\"2025\"], .. }");
    let stored = run(bench.store.load(person(1))).unwrap();
    assert_eq!(format!("{stored:?}"), "Present(WrappedKey { master_key: \"2025\", .. })");

    let secret: Secret<String> = serde_json::from_str("\"hunter2\"").unwrap();
    assert_eq!(secret.expose(), "hunter2");
    assert_eq!(format!("{secret} {secret:?}"), "(redacted) (redacted)");
    assert_eq!(serde_json::to_string(&secret).unwrap(), "\"(redacted)\"");
}
