//! Types that are written as text: `Debug`, `Serialize` and `Deserialize` by way of `Display` and `FromStr`.
//!
//! What is parsed once at the edge is parsed by the same code when it comes back from JSON or the database.

/// Implements `Debug` and serde for types that have `Display` and `FromStr`.
macro_rules! written_as_text {
    ($($name:ty),+ $(,)?) => {$(
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = ::std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    )+};
}

pub(crate) use written_as_text;
