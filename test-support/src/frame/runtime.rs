//! Macros that assemble a mock runtime.

use frame_system::AuthorizeCall;
use sp_runtime::{
	generic::{self, Header},
	testing::TestXt,
	traits::BlakeTwo256,
};

/// A transaction whose only extension authorizes fee-less calls.
pub type Extrinsic<Runtime, Call> = TestXt<Call, AuthorizeCall<Runtime>>;

/// A block of such transactions.
pub type Block<Runtime, Call, Number = u32> =
	generic::Block<Header<Number, BlakeTwo256>, Extrinsic<Runtime, Call>>;

/// Defines a runtime of pallets, each with its index:
///
/// ```ignore
/// mock_runtime!(Test { 0: System = frame_system, 1: Balances = pallet_balances });
/// ```
///
/// The invoking crate needs `frame_support` and `frame_system` by these names.
#[macro_export]
macro_rules! mock_runtime {
	($runtime:ident { $($index:literal: $name:ident = $pallet:ident),* $(,)? }) => {
		#[frame_support::runtime]
		mod runtime {
			#[runtime::runtime]
			#[runtime::derive(
				RuntimeCall,
				RuntimeEvent,
				RuntimeError,
				RuntimeOrigin,
				RuntimeFreezeReason,
				RuntimeHoldReason,
				RuntimeSlashReason,
				RuntimeLockId,
				RuntimeTask,
				RuntimeViewFunction
			)]
			pub struct $runtime;

			$(
				#[runtime::pallet_index($index)]
				pub type $name = $pallet;
			)*
		}
	};
}

/// Lets the off-chain workers of a mock runtime submit fee-less calls, in transactions whose only extension
/// is [`AuthorizeCall`].
#[macro_export]
macro_rules! submit_authorized_calls {
	($runtime:ident, $call:ident, $extrinsic:ident) => {
		impl<LocalCall> frame_system::offchain::CreateTransactionBase<LocalCall> for $runtime
		where
			$call: From<LocalCall>,
		{
			type RuntimeCall = $call;
			type Extrinsic = $extrinsic;
		}

		impl<LocalCall> frame_system::offchain::CreateTransaction<LocalCall> for $runtime
		where
			$call: From<LocalCall>,
		{
			type Extension = frame_system::AuthorizeCall<$runtime>;
			fn create_transaction(call: $call, extension: Self::Extension) -> $extrinsic {
				$extrinsic::new_transaction(call, extension)
			}
		}

		impl<LocalCall> frame_system::offchain::CreateAuthorizedTransaction<LocalCall> for $runtime
		where
			$call: From<LocalCall>,
		{
			fn create_extension() -> Self::Extension {
				frame_system::AuthorizeCall::new()
			}
		}
	};
}
