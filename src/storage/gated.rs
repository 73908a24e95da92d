//! Wrappers of stores.

/// Implements a trait of stores for a wrapper: each async method passes through `$gate` of the wrapper, which is given its name
/// and the call of `inner`; any other method is asked of `inner`. A method that does something else stands after `with`. Each
/// method must be named, or the trait is not implemented: so none goes around the gate.
#[doc(hidden)]
#[macro_export]
macro_rules! gated {
    (impl $(<$one:ident: $bound:ident + ?Sized>)? $trait:ident for $wrapper:ty => $gate:ident {
        $(fn $plain:ident(&self $(, $given:ident: $kind:ty)*) -> $told:ty;)*
        $(async fn $method:ident(&self $(, $arg:ident: $type:ty)* $(,)?) -> $answer:ty;)*
        $(with $($own:tt)*)?
    }) => {
        #[async_trait::async_trait]
        impl $(<$one: $bound + ?Sized>)? $trait for $wrapper {
            $(fn $plain(&self $(, $given: $kind)*) -> $told {
                self.inner.$plain($($given),*)
            })*
            $(async fn $method(&self $(, $arg: $type)*) -> $answer {
                self.$gate(stringify!($method), self.inner.$method($($arg),*)).await
            })*
            $($($own)*)?
        }
    };
}
