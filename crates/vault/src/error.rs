use uuid::Uuid;

use crate::ambient::RandomnessUnavailable;
use crate::key_store::KeyStoreError;
use crate::sealed::PLAINTEXT_MAX_BYTES;

/// Why something could not be sealed or opened. Names owners by id and fields by label, never a value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The owner was erased; nothing more is sealed for them, ever.
    #[error("{owner} was erased: nothing can be sealed for them any more")]
    Erased {
        /// Whose key was destroyed.
        owner: Uuid,
    },
    /// A sealed value names an owner of whom the key store has neither a key nor a tombstone.
    #[error(
        "there is neither a data key nor a tombstone for {owner}: the key store is older than the book, or another one; \
         restore it before going on"
    )]
    NoKey {
        /// Whose key is missing.
        owner: Uuid,
    },
    /// The bytes are not a sealed value at all.
    #[error("not a sealed value: {reason}")]
    Malformed {
        /// What is wrong with the bytes.
        reason: &'static str,
    },
    /// The value was altered, or belongs to another field or owner.
    #[error("the sealed value in `{label}` of {owner} was altered or belongs to another field")]
    NotAuthentic {
        /// The owner that the value names.
        owner: Uuid,
        /// The field it was to be opened for.
        label: String,
    },
    /// A data key is wrapped by a master key that the settings don't have.
    #[error("the data key of {owner} is wrapped by master key `{master_key}`: add it to the vault's master keys")]
    UnknownMasterKey {
        /// Whose data key it is.
        owner: Uuid,
        /// The id of the missing master key.
        master_key: String,
    },
    /// A wrapped data key doesn't open with the master key it names.
    #[error(
        "the data key of {owner} does not open with master key `{master_key}`: the settings have another key under that id"
    )]
    WrongMasterKey {
        /// Whose data key it is.
        owner: Uuid,
        /// The id of the master key.
        master_key: String,
    },
    /// More plaintext than is ever sealed.
    #[error("{found_bytes} bytes are too much to seal: at most {PLAINTEXT_MAX_BYTES}")]
    TooLarge {
        /// The size of the plaintext.
        found_bytes: usize,
    },
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] RandomnessUnavailable),
    /// The key store failed; the same call may succeed later.
    #[error(transparent)]
    KeyStore(#[from] KeyStoreError),
}
