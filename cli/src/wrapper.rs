//! Types that wrap one value and that the chain encodes as that value.

use std::marker::PhantomData;
use subxt::ext::scale_decode::TypeResolver;

/// Decodes a wrapper as its inner value, which derived code would not do.
pub struct Unwrap<T, R>(PhantomData<(T, R)>);

impl<T, R: TypeResolver> Unwrap<T, R> {
	/// Creates the visitor.
	pub fn new() -> Self {
		Self(PhantomData)
	}
}

/// Implements decoding of `$wrapper($inner)` as `$inner`.
#[macro_export]
macro_rules! wrapper {
	($wrapper:ident, $inner:ty) => {
		const _: () = {
			use subxt::ext::scale_decode::{
				self, IntoVisitor, TypeResolver, Visitor,
				visitor::{DecodeAsTypeResult, decode_with_visitor},
			};
			use $crate::wrapper::Unwrap;

			impl<R: TypeResolver> Visitor for Unwrap<$wrapper, R> {
				type Value<'scale, 'resolver> = $wrapper;
				type Error = scale_decode::Error;
				type TypeResolver = R;

				fn unchecked_decode_as_type(
					self,
					input: &mut &[u8],
					id: R::TypeId,
					types: &R,
				) -> DecodeAsTypeResult<Self, Result<$wrapper, Self::Error>> {
					let visitor = <$inner>::into_visitor();
					let inner = decode_with_visitor(input, id, types, visitor);
					DecodeAsTypeResult::Decoded(inner.map($wrapper))
				}
			}

			impl IntoVisitor for $wrapper {
				type AnyVisitor<R: TypeResolver> = Unwrap<$wrapper, R>;
				fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
					Unwrap::new()
				}
			}
		};
	};
}
