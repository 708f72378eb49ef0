//! Properties of sealed bytes over arbitrary plaintexts, owners, labels and damage.

use daybook_events::Sealed;
use daybook_vault::{Error, OVERHEAD_BYTES, Opened, OsAmbient, PLAINTEXT_MAX_BYTES, owner_of};
use proptest::prelude::*;

use crate::{Bench, EMAIL, NAME, OLD_MASTER, person, plain, run};

proptest! {
    #[test]
    fn what_was_sealed_opens(text in proptest::collection::vec(any::<u8>(), 0..300), owner: u128, label in "[a-z.]{0,40}") {
        let vault = Bench::new().vault(&[OLD_MASTER]);
        let sealed = run(vault.seal(person(owner), &label, &text)).unwrap();
        prop_assert_eq!(sealed.as_bytes().len(), text.len() + OVERHEAD_BYTES);
        prop_assert_eq!(owner_of(&sealed).unwrap(), person(owner));
        prop_assert_eq!(plain(run(vault.open(&label, &sealed)).unwrap()), text);
    }

    #[test]
    fn any_flipped_bit_is_noticed(text in proptest::collection::vec(any::<u8>(), 0..60), bit: prop::sample::Index) {
        let vault = Bench::new().vault(&[OLD_MASTER]);
        let mut sealed = run(vault.seal(person(1), EMAIL, &text)).unwrap().into_bytes();

        let bit = bit.index(sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(run(vault.open(EMAIL, &Sealed::new(sealed))).is_err());
    }

    #[test]
    fn garbage_and_truncation_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut: prop::sample::Index) {
        let vault = Bench::new().vault(&[OLD_MASTER]);
        prop_assert!(run(vault.open(EMAIL, &Sealed::new(bytes))).is_err());
        let sealed = run(vault.seal(person(1), EMAIL, b"ada@example.org")).unwrap().into_bytes();
        prop_assert!(run(vault.open(EMAIL, &Sealed::new(sealed[..cut.index(sealed.len())].to_vec()))).is_err());
    }

    #[test]
    fn a_value_opens_under_its_own_label_only(label in "[a-z.]{0,40}", other in "[a-z.]{0,40}") {
        prop_assume!(label != other);
        let vault = Bench::new().vault(&[OLD_MASTER]);
        let sealed = run(vault.seal(person(1), &label, b"Ada")).unwrap();
        prop_assert!(matches!(run(vault.open(&other, &sealed)), Err(Error::NotAuthentic { .. })), "opened under another label");
    }
}

#[test]
fn a_value_moved_to_another_person_does_not_open() {
    let vault = Bench::new().vault(&[OLD_MASTER]);
    let mut sealed = run(vault.seal(person(1), EMAIL, b"ada@example.org")).unwrap().into_bytes();
    let of_another = run(vault.seal(person(2), EMAIL, b"eve@example.org")).unwrap();
    sealed[1..17].copy_from_slice(&of_another.as_bytes()[1..17]);
    assert!(matches!(run(vault.open(EMAIL, &Sealed::new(sealed))), Err(Error::NotAuthentic { .. })));
}

#[test]
fn sealing_twice_gives_different_bytes() {
    let vault = Bench::new().vault(&[OLD_MASTER]);
    let first = run(vault.seal(person(1), NAME, b"Ada")).unwrap();
    let second = run(vault.seal(person(1), NAME, b"Ada")).unwrap();
    assert_ne!(first, second);
}

#[test]
fn more_than_the_bound_is_not_sealed() {
    let vault = Bench::new().vault(&[OLD_MASTER]);
    let text = vec![0; PLAINTEXT_MAX_BYTES + 1];
    let refused = run(vault.seal(person(1), NAME, &text)).unwrap_err();
    assert_eq!(refused.to_string(), "1048577 bytes are too much to seal: at most 1048576");
    let sealed = run(vault.seal(person(1), NAME, &text[1..])).unwrap();
    assert!(matches!(run(vault.open(NAME, &sealed)), Ok(Opened::Plain(_))));
}

#[test]
fn the_operating_systems_randomness_seals_as_well() {
    let bench = Bench::new();
    let vault = daybook_vault::Vault::new(
        daybook_vault::MasterKeys::parse(&[OLD_MASTER]).unwrap(),
        bench.store,
        std::sync::Arc::new(OsAmbient::default()),
    );
    let sealed = run(vault.seal(person(1), NAME, b"Ada")).unwrap();
    assert_eq!(plain(run(vault.open(NAME, &sealed)).unwrap()), b"Ada");
}
