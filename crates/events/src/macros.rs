//! What the generated code is made of, so that it stays short enough to be read.

/// A newtype over `Uuid`.
macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// The id that is this UUID.
            pub const fn new(id: uuid::Uuid) -> Self {
                Self(id)
            }

            /// The id that is this number; for tests.
            pub const fn from_u128(number: u128) -> Self {
                Self(uuid::Uuid::from_u128(number))
            }

            /// The plain UUID.
            pub const fn uuid(self) -> uuid::Uuid {
                self.0
            }
        }

        impl From<uuid::Uuid> for $name {
            fn from(id: uuid::Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for uuid::Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl $crate::key::KeyField for $name {
            fn id(&self) -> uuid::Uuid {
                self.0
            }

            fn bytes(&self) -> Vec<u8> {
                $crate::key::of(self.0).to_vec()
            }
        }
    };
}

/// `Message` for a generated record.
macro_rules! message {
    ($name:ident, $namespace:literal, $kind:ident, $topic:literal, $key:ident) => {
        impl $crate::Message for $name {
            const NAME: &'static str = stringify!($name);
            const FULL_NAME: &'static str = concat!($namespace, ".", stringify!($name));
            const KIND: $crate::Kind = $crate::Kind::$kind;
            const TOPIC: &'static str = $topic;
            const SCHEMA: &'static str = include_str!(concat!("schemas/", $namespace, ".", stringify!($name), ".avsc"));

            fn schema() -> &'static serde_avro_fast::Schema {
                static SCHEMA: std::sync::LazyLock<serde_avro_fast::Schema> = std::sync::LazyLock::new(|| {
                    <$name as $crate::Message>::SCHEMA.parse().expect("schemas are checked when they are generated")
                });
                &SCHEMA
            }

            fn key(&self) -> uuid::Uuid {
                $crate::key::KeyField::id(&self.$key)
            }

            fn key_bytes(&self) -> Vec<u8> {
                $crate::key::KeyField::bytes(&self.$key)
            }
        }
    };
}

/// The enum of the events that close a command.
macro_rules! closing {
    ($command:ident, $closing:ident, [$($event:ident),+ $(,)?]) => {
        #[doc = concat!("What closes [`", stringify!($command), "`], other than a refusal.")]
        #[derive(Clone, Debug, PartialEq)]
        pub enum $closing {
            $(
                #[doc = concat!("It ended in [`", stringify!($event), "`].")]
                $event($event),
            )+
        }

        impl $crate::Command for $command {
            type Closing = $closing;
        }

        impl $crate::Closing for $closing {
            const NAMES: &'static [&'static str] =
                &[$(<$event as $crate::Message>::FULL_NAME),+];

            fn decode(
                writer: &$crate::Writer,
                body: &[u8],
            ) -> Option<Result<Self, $crate::DecodeError>> {
                match writer.full_name() {
                    $(
                        <$event as $crate::Message>::FULL_NAME => {
                            Some($crate::decode(writer, body).map(Self::$event))
                        }
                    )+
                    _ => None,
                }
            }
        }

        $(
            impl From<$event> for $closing {
                fn from(event: $event) -> Self {
                    Self::$event(event)
                }
            }
        )+
    };
}

/// The enum of the messages of a topic.
macro_rules! family {
    ($family:ident, $topic:literal, [$($message:ident),+ $(,)?]) => {
        #[doc = concat!("Every message of `", $topic, "`.")]
        #[derive(Clone, Debug, PartialEq)]
        pub enum $family {
            $(
                #[doc = concat!("See [`", stringify!($message), "`].")]
                $message($message),
            )+
        }

        impl $crate::Family for $family {
            const TOPIC: &'static str = $topic;
            const NAMES: &'static [&'static str] =
                &[$(<$message as $crate::Message>::FULL_NAME),+];

            fn decode(
                writer: &$crate::Writer,
                body: &[u8],
            ) -> Result<Self, $crate::DecodeError> {
                match writer.full_name() {
                    $(
                        <$message as $crate::Message>::FULL_NAME => {
                            $crate::decode(writer, body).map(Self::$message)
                        }
                    )+
                    found => Err($crate::DecodeError::Unexpected { found: found.to_owned() }),
                }
            }

            fn encode(&self, out: &mut Vec<u8>) -> Result<(), $crate::EncodeError> {
                match self {
                    $(Self::$message(message) => $crate::encode(message, out),)+
                }
            }

            fn full_name(&self) -> &'static str {
                match self {
                    $(Self::$message(_) => <$message as $crate::Message>::FULL_NAME,)+
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$message(_) => <$message as $crate::Message>::NAME,)+
                }
            }

            fn key(&self) -> uuid::Uuid {
                match self {
                    $(Self::$message(message) => $crate::Message::key(message),)+
                }
            }

            fn key_bytes(&self) -> Vec<u8> {
                match self {
                    $(Self::$message(message) => $crate::Message::key_bytes(message),)+
                }
            }
        }

        $(
            impl From<$message> for $family {
                fn from(message: $message) -> Self {
                    Self::$message(message)
                }
            }
        )+
    };
}

/// The `Descriptor` of a message.
macro_rules! describe {
    ($name:ident, $key:ident, $fingerprint:literal,
     closing: [$($closing:ident),*], undoes: $undoes:expr,
     sealed: [$($field:ident by $owner:ident),*]) => {
        $crate::Descriptor {
            name: <$name as $crate::Message>::NAME,
            full_name: <$name as $crate::Message>::FULL_NAME,
            kind: <$name as $crate::Message>::KIND,
            topic: <$name as $crate::Message>::TOPIC,
            key: stringify!($key),
            closing: &[$(<$closing as $crate::Message>::FULL_NAME),*],
            undoes: $undoes,
            sealed: &[$($crate::SealedField {
                field: stringify!($field),
                owner: stringify!($owner),
            }),*],
            schema: <$name as $crate::Message>::SCHEMA,
            fingerprint: $fingerprint,
            to_json: $crate::codec::to_json::<$name>,
            from_json: $crate::codec::from_json::<$name>,
        }
    };
}
