//! Wrappers of stores.

/// Implements a storage trait for a wrapper: each async method passes through the wrapper's `$gate`, with its name and the call
/// of `inner`; other methods are forwarded. Overridden methods stand after `with`. Each method must be named, or the trait is
/// not implemented: so no method bypasses the gate.
#[doc(hidden)]
#[macro_export]
macro_rules! gated {
    (impl $(<$one:ident: $bound:ident + ?Sized>)? $trait:ident for $wrapper:ty => $gate:ident {
        $(fn $plain:ident(&self $(, $plain_arg:ident: $kind:ty)*) -> $plain_result:ty;)*
        $(async fn $method:ident(&self $(, $arg:ident: $type:ty)* $(,)?) -> $result:ty;)*
        $(with $($own:tt)*)?
    }) => {
        #[async_trait::async_trait]
        impl $(<$one: $bound + ?Sized>)? $trait for $wrapper {
            $(fn $plain(&self $(, $plain_arg: $kind)*) -> $plain_result {
                self.inner.$plain($($plain_arg),*)
            })*
            $(async fn $method(&self $(, $arg: $type)*) -> $result {
                self.$gate(stringify!($method), self.inner.$method($($arg),*)).await
            })*
            $($($own)*)?
        }
    };
}
