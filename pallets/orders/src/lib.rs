//! # Orders
//!
//! Renting a machine: what it costs, which worker gets the order, where the money is meanwhile, who is paid
//! what, and how it ends.
//!
//! ## Terms
//!
//! - **Customer**: the account that pays. **Order**: one machine, as a whole, for a number of hours.
//! - **Unit**: what is paid for by the hour, a GPU; of a machine without any, a CPU core.
//! - **Plan**: for how long the customer commits itself, which lowers the price.
//! - **Escrow**: the money of an order that is neither paid nor given back yet. KAI is on hold on the
//!   customer's own account; credits lie in the pallet's pot ([`Pallet::pot`]).
//! - **Credits**: what a customer's own cancellation leaves. Good for later orders, never paid out.
//! - **Tail**: the time between the last proof and an order's end.
//!
//! ## The story of an order
//!
//! 1. Carla asks for one RTX 4090 for two hours ([`Call::place_order`]). The price book says what that
//!    costs; the KAI is held on her account. The order is `Matching`.
//! 2. Two blocks later a few idle workers are drawn, with randomness that nobody could know when she placed
//!    it, and the best of them gets the order ([`matching`]). It is `Deploying`, the worker `Rented`.
//! 3. The worker's agent pulls the image and starts the container; its node says so
//!    ([`Call::confirm_deployment`]). The order is `Active`: paid time runs.
//! 4. About every hour a check proves that the worker is there and that the container answers
//!    ([`OnClosed`](kaisar_primitives::OnClosed)). Each time the escrow
//!    pays for the time that was proved.
//! 5. Two hours later paid time is over. The order is `Closing`, and its worker due in a check. That check
//!    proves the tail, the rest is paid, the order is `Closed`, the worker idle again.
//!
//! It can go otherwise: nobody fits, the image is no good, the container ends, Carla cancels, or reports that
//! something is wrong; the worker never deploys it, or a check finds it gone. `docs/orders.md` tells each,
//! and what it does with the money.
//!
//! ## Money
//!
//! What was charged for an order is at any time the sum of what is in escrow, paid, taken as fee, paid to the
//! treasury, given back and credited ([`Ledger`]). Payments are rounded down, credits are used before
//! KAI, and what goes back goes back in its kind.
//!
//! ## Time
//!
//! What has to happen at a block, happens without anybody's call: the agenda ([`agenda`]) keeps orders by
//! the block in which something is to be done, and each block does what is due, bounded by weight. What did
//! not fit is done in the next ones; an order that fails is put aside for later and stops no other.

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

pub mod agenda;
mod authorize;
#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod checks;
mod life;
pub mod matching;
#[cfg(test)]
mod mock;
mod money;
pub mod ocw;
mod prices;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "try-runtime", feature = "runtime-benchmarks", test))]
mod try_state;
mod types;
mod views;
pub mod weights;

pub use pallet::*;
pub use types::*;
pub use views::MAX_PAGE;
pub use weights::WeightInfo;

use sp_runtime::{
	ArithmeticError, DispatchError,
	traits::{EnsureAdd, EnsureAddAssign, EnsureMul, EnsureSub},
};

/// Where the pallet logs.
pub const LOG_TARGET: &str = "runtime::orders";

/// The record of an order of this runtime.
pub type OrderOf<T> = Order<<T as frame_system::Config>::AccountId>;

#[frame_support::pallet]
pub mod pallet {
	use super::*;
	use alloc::vec::Vec;
	use frame_support::{
		PalletId,
		pallet_prelude::*,
		traits::fungible::{Mutate, MutateHold},
	};
	use frame_system::{offchain::CreateAuthorizedTransaction, pallet_prelude::*};
	use kaisar_primitives::{
		Balance, BlockNumber, BlockSeed, Checks, ClientKey, CloseReason, DeployFailure, GpuClass,
		Image, Issue, Market, OrderId, Plan, PlanRates, ProtocolFees, Requirement, TemplateId,
		WorkerId, WorkerRegistry, authorized::ensure_sender,
	};
	use sp_core::{H256, sr25519};
	use sp_runtime::{Perbill, traits::SaturatedConversion};

	/// The layout of the storage.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	#[pallet::config]
	pub trait Config:
		CreateAuthorizedTransaction<Call<Self>> + frame_system::Config<Hash = H256>
	{
		/// KAI.
		type Currency: Mutate<Self::AccountId, Balance = Balance>
			+ MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>;

		/// Why KAI is held.
		type RuntimeHoldReason: From<HoldReason>;

		/// The registry of workers.
		type Workers: WorkerRegistry<Self::AccountId> + Market;

		/// Rounds and checks.
		type Checks: Checks;

		/// Randomness of blocks.
		type Seeds: BlockSeed;

		/// Takes the protocol's part of payments.
		type Fees: ProtocolFees<Self::AccountId>;

		/// Gets what a deployment costs that came to nothing.
		type Treasury: Get<Self::AccountId>;

		/// Where the pot's account comes from.
		#[pallet::constant]
		type PalletId: Get<PalletId>;

		/// May set prices, the oracle, the contingency and templates.
		type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;

		/// What the plans leave of a price. *Param.*
		type PlanRates: Get<PlanRates>;

		/// The protocol's part of a payment. *Param.*
		type ProtocolFee: Get<Perbill>;

		/// The KAI that is held for a report of an issue. *Param.*
		type IssueBond: Get<Balance>;

		/// Blocks that a worker has for deploying. *Param.*
		type DeployDeadline: Get<BlockNumber>;

		/// Blocks of the price that a deployment costs which came to nothing: 0.1 h. *Param.*
		type SetupBlocks: Get<BlockNumber>;

		/// Blocks for which a worker is not matched that could not serve an order. *Param.*
		type BarBlocks: Get<BlockNumber>;

		/// Blocks after which the agenda asks what has become of the check that an order's end waits for.
		/// *Param.*
		type ClosingTimeout: Get<BlockNumber>;

		/// Blocks for which an order that is closed is kept. *Param.*
		type History: Get<BlockNumber>;

		/// Most idle workers that are drawn for an order. *Param.*
		type MatchDraws: Get<u32>;

		/// The weight that a block gives to the agenda and to matching, half of it to each before the other
		/// may have what is left.
		type HookWeight: Get<Weight>;

		/// Weights of the calls and hooks.
		type WeightInfo: WeightInfo;
	}

	/// The price book.
	#[pallet::storage]
	pub type PriceBook<T> = StorageMap<_, Identity, GpuClass, ClassPrice>;

	/// Whether prices follow costs: the governance's switch.
	#[pallet::storage]
	pub type Contingency<T> = StorageValue<_, bool, ValueQuery>;

	/// The account that may set prices besides governance.
	#[pallet::storage]
	pub type Oracle<T: Config> = StorageValue<_, T::AccountId>;

	/// The chain's list of images.
	#[pallet::storage]
	pub type Templates<T> = StorageMap<_, Twox64Concat, TemplateId, Template>;

	/// The number of the next order.
	#[pallet::storage]
	pub type NextOrderId<T> = StorageValue<_, OrderId, ValueQuery>;

	/// Orders: those that are open, and those that were closed lately. (Numbers are given out in order, so
	/// they need no hash.)
	#[pallet::storage]
	pub type Orders<T: Config> = StorageMap<_, Identity, OrderId, OrderOf<T>>;

	/// What each of them runs. Apart from its record, which every payment writes.
	#[pallet::storage]
	pub type Workloads<T> = StorageMap<_, Identity, OrderId, Workload>;

	/// The orders of each customer.
	#[pallet::storage]
	pub type OrdersByCustomer<T: Config> =
		StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, OrderId, ()>;

	/// The orders that wait to be matched, oldest first.
	#[pallet::storage]
	pub type Queue<T> = StorageMap<_, Twox64Concat, u64, Waiting>;

	/// Where the queue begins and ends.
	#[pallet::storage]
	pub type QueueEnds<T> = StorageValue<_, QueueBounds, ValueQuery>;

	/// Orders by the block in which something is to be done, in pages of [`AGENDA_PAGE`].
	#[pallet::storage]
	pub type Agenda<T> = StorageDoubleMap<
		_,
		Twox64Concat,
		BlockNumber,
		Twox64Concat,
		u32,
		BoundedVec<OrderId, ConstU32<AGENDA_PAGE>>,
		ValueQuery,
	>;

	/// How many entries a block has in the agenda.
	#[pallet::storage]
	pub type AgendaLen<T> = StorageMap<_, Twox64Concat, BlockNumber, u32, ValueQuery>;

	/// Where the agenda has got to.
	#[pallet::storage]
	pub type AgendaCursor<T> = StorageValue<_, Cursor>;

	/// Credits by account, without those in escrow.
	#[pallet::storage]
	pub type Credits<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, Balance, ValueQuery>;

	/// All credits, those in escrow included. The pot has as much KAI, besides its existential deposit.
	#[pallet::storage]
	pub type TotalCredits<T> = StorageValue<_, Balance, ValueQuery>;

	/// What the chain starts with.
	#[pallet::genesis_config]
	pub struct GenesisConfig<T: Config> {
		/// Reference prices of a unit and hour.
		pub prices: Vec<(GpuClass, Balance)>,
		#[doc(hidden)]
		pub _config: core::marker::PhantomData<T>,
	}

	impl<T: Config> Default for GenesisConfig<T> {
		fn default() -> Self {
			Self {
				prices: Vec::new(),
				_config: Default::default(),
			}
		}
	}

	#[pallet::genesis_build]
	impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
		fn build(&self) {
			for (class, reference) in &self.prices {
				assert!(*reference > 0, "a price is never zero");
				assert!(!PriceBook::<T>::contains_key(class), "one price a class");
				let price = ClassPrice {
					reference: Some(*reference),
					cost: None,
				};
				PriceBook::<T>::insert(class, price);
			}
			Pallet::<T>::found_pot().expect("the pot can be founded at genesis");
		}
	}

	/// Why the pallet holds KAI.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// It is in escrow for an order.
		Escrow,
		/// It is the bond of a report.
		IssueBond,
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// An order was placed, and its price is in escrow.
		OrderPlaced {
			/// The order.
			order: OrderId,
			/// The customer.
			customer: T::AccountId,
			/// What was asked for.
			requirement: Requirement,
			/// For how long.
			hours: u32,
			/// With which plan.
			plan: Plan,
			/// What a unit and hour costs.
			unit_price: Balance,
			/// All of it.
			charged: Money,
		},
		/// An order has a worker, which is to deploy it.
		OrderMatched {
			/// The order.
			order: OrderId,
			/// The worker.
			worker: WorkerId,
			/// The last block in which its deployment may be confirmed.
			deploy_by: BlockNumber,
		},
		/// An order's container runs: its paid time has begun.
		OrderDeployed {
			/// The order.
			order: OrderId,
			/// The worker.
			worker: WorkerId,
			/// When paid time ends.
			ends_at: BlockNumber,
		},
		/// A worker's agent could not deploy an order.
		DeploymentFailed {
			/// The order.
			order: OrderId,
			/// The worker.
			worker: WorkerId,
			/// Why.
			reason: DeployFailure,
		},
		/// An order's container ended by itself.
		ContainerExited {
			/// The order.
			order: OrderId,
			/// The worker.
			worker: WorkerId,
			/// Its exit code.
			code: i32,
		},
		/// Time that was proved was paid for.
		OrderPaid {
			/// The order.
			order: OrderId,
			/// The worker.
			worker: WorkerId,
			/// Who was paid: the worker's owner, or the treasury if so little could not be paid to it.
			to: T::AccountId,
			/// The amount.
			amount: Balance,
			/// The protocol's part, besides.
			fee: Balance,
			/// Blocks of paid time that were proved so far.
			proved: BlockNumber,
		},
		/// An order goes on for longer.
		OrderExtended {
			/// The order.
			order: OrderId,
			/// By how much.
			hours: u32,
			/// What a unit and hour of it costs.
			unit_price: Balance,
			/// All of it.
			charged: Balance,
			/// When paid time ends now.
			ends_at: BlockNumber,
		},
		/// An order's paid time is over: the check is awaited that proves the rest of it.
		OrderClosing {
			/// The order.
			order: OrderId,
			/// `Expired` or `Cancelled`.
			reason: CloseReason,
			/// When its paid time ended.
			ends_at: BlockNumber,
		},
		/// An order is over.
		OrderClosed {
			/// The order.
			order: OrderId,
			/// Why.
			reason: CloseReason,
			/// Paid to the worker's owner, in all.
			paid: Balance,
			/// The protocol's part, and what the treasury got for a deployment that came to nothing.
			fee: Balance,
			/// Given back, in the kind it was paid in.
			refunded: Money,
			/// Credited.
			credited: Balance,
		},
		/// Something about an order could not be done in a hook; it is tried again later.
		OrderFailed {
			/// The order.
			order: OrderId,
			/// What went wrong.
			error: DispatchError,
		},
		/// A customer said that something is wrong. The worker is due in a check.
		IssueReported {
			/// The order.
			order: OrderId,
			/// The worker.
			worker: WorkerId,
			/// What is wrong.
			reason: Issue,
			/// The KAI that is on hold for it.
			bond: Balance,
		},
		/// What a customer said was settled.
		IssueResolved {
			/// The order.
			order: OrderId,
			/// The customer has its bond back; if not, the worker's owner has it.
			returned: bool,
			/// The bond.
			bond: Balance,
		},
		/// An account got credits.
		CreditsGiven {
			/// The account.
			who: T::AccountId,
			/// How many.
			amount: Balance,
		},
		/// An account used credits for an order.
		CreditsUsed {
			/// The account.
			who: T::AccountId,
			/// The order.
			order: OrderId,
			/// How many.
			amount: Balance,
		},
		/// The reference price of a class was set.
		PriceSet {
			/// The class.
			class: GpuClass,
			/// What it was.
			old: Option<Balance>,
			/// What it is.
			new: Option<Balance>,
		},
		/// The cost of a class was set.
		CostSet {
			/// The class.
			class: GpuClass,
			/// What it was.
			old: Option<Cost>,
			/// What it is.
			new: Option<Cost>,
		},
		/// The contingency was switched.
		ContingencySet {
			/// Whether it was on.
			old: bool,
			/// Whether it is.
			new: bool,
		},
		/// Another account may set prices.
		OracleSet {
			/// Which one could.
			old: Option<T::AccountId>,
			/// Which one can.
			new: Option<T::AccountId>,
		},
		/// A template was set.
		TemplateSet {
			/// The template.
			id: TemplateId,
			/// What it was.
			old: Option<Template>,
			/// What it is.
			new: Option<Template>,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// There is no such order, or it was closed so long ago that it is forgotten.
		UnknownOrder,
		/// The signer is not the order's customer.
		NotCustomer,
		/// The signer does not own the order's worker.
		NotOwner,
		/// A signed extrinsic carries no second signature.
		SignatureNotExpected,
		/// The order is not at the point of its life where this can be done.
		WrongState,
		/// The order's worker has lost it.
		WorkerLost,
		/// No machine can be as is asked for: GPUs without a class or a class without GPUs, a tier above 4,
		/// a region that is no country code.
		InvalidRequirement,
		/// The reference is empty, or has characters that are in none.
		InvalidImage,
		/// There is no such template.
		UnknownTemplate,
		/// The plan is for longer.
		TooFewHours,
		/// No order is for so long.
		TooManyHours,
		/// The class has no price.
		NoPrice,
		/// A price is never zero.
		ZeroPrice,
		/// It costs more than the customer would pay.
		PriceAboveLimit,
		/// It costs less than the worker was offered for.
		PriceBelowFloor,
		/// The account has fewer credits.
		InsufficientCredits,
		/// The order was extended as often as it can be.
		TooManyExtensions,
		/// The deadline for deploying is over.
		DeadlineOver,
		/// An issue of the order is open.
		IssueOpen,
		/// Nothing of the order is due.
		NothingDue,
		/// What is kept of an order does not fit together. Should never happen.
		Inconsistent,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// What an order would cost now, or why it could not be placed.
		pub fn quote(
			requirement: Requirement,
			hours: u32,
			plan: Plan,
		) -> Result<Quote, DispatchError> {
			Self::do_quote(&requirement, hours, plan)
		}

		/// All that is known of an order.
		pub fn order(id: OrderId) -> Option<OrderView<T::AccountId>> {
			Self::view_of(id)
		}

		/// The orders of a customer from number `from` on, at most `limit` of them, and [`MAX_PAGE`] at
		/// most; with the number to go on from, `None` at the list's end.
		pub fn orders_of(
			customer: T::AccountId,
			from: OrderId,
			limit: u32,
		) -> (Vec<OrderView<T::AccountId>>, Option<OrderId>) {
			Self::page_of(&customer, from, limit)
		}

		/// The order that a worker serves.
		pub fn order_of(worker: WorkerId) -> Option<OrderView<T::AccountId>> {
			T::Workers::info(worker, T::Checks::next_round())
				.and_then(|info| info.order)
				.and_then(Self::view_of)
		}

		/// The credits that an account can use.
		pub fn credits(who: T::AccountId) -> Balance {
			Credits::<T>::get(who)
		}

		/// What a unit and hour of a class costs now, if it has a price.
		pub fn price(class: GpuClass) -> Option<Prices> {
			Self::prices_of(class).ok()
		}

		/// The price book, class by class from number `from` on; it looks at `limit` classes,
		/// [`MAX_PAGE`] at most.
		pub fn price_book(from: GpuClass, limit: u32) -> Vec<(GpuClass, ClassPrice)> {
			Self::book_from(from, limit)
		}

		/// A template.
		pub fn template(id: TemplateId) -> Option<Template> {
			Templates::<T>::get(id)
		}

		/// How many orders wait to be matched; those that were cancelled meanwhile are among them.
		pub fn waiting() -> u64 {
			let QueueBounds { head, tail } = QueueEnds::<T>::get();
			tail.saturating_sub(head)
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Asks for a machine. The full price is held on the customer's account, less the credits that are
		/// used; two blocks later a worker is drawn.
		///
		/// - **Origin**: signed, the customer.
		/// - `requirement`: the machine. An order has it as a whole.
		/// - `image`: what runs: an OCI reference or a template.
		/// - `hours`: for how long, from the moment it runs; at least what the plan is for, at most 8,760.
		/// - `plan`: the commitment that lowers the price.
		/// - `max_price`: the most that the whole order may cost, in units of 10⁻¹⁸ KAI, credits included.
		/// - `credits`: how many credits to use for it; not more than it costs.
		/// - `client_key`: the ed25519 key that may connect.
		/// - **Errors**: `InvalidRequirement`, `InvalidImage`, `UnknownTemplate`, `TooFewHours`,
		///   `TooManyHours`, `NoPrice`, `PriceAboveLimit`, `InsufficientCredits`, and the currency's where
		///   the account has too little KAI.
		/// - **Events**: `OrderPlaced`, `CreditsUsed`.
		/// Its weight has in it what matching it, ending it and forgetting it will take of later blocks.
		#[pallet::call_index(0)]
		#[pallet::weight(
			T::WeightInfo::place_order()
				.saturating_add(T::WeightInfo::match_order(T::MatchDraws::get(), 1))
				.saturating_add(T::WeightInfo::agenda_end())
				.saturating_add(T::WeightInfo::agenda_forget())
		)]
		#[allow(clippy::too_many_arguments)]
		pub fn place_order(
			origin: OriginFor<T>,
			requirement: Requirement,
			image: Image,
			hours: u32,
			plan: Plan,
			max_price: Balance,
			credits: Balance,
			client_key: ClientKey,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let run = Self::resolve(&image)?;
			let template = match image {
				Image::Template(id) => Some(id),
				Image::Reference(_) => None,
			};
			let workload = Workload {
				template,
				run,
				client_key,
			};
			Self::do_place(who, requirement, workload, hours, plan, max_price, credits)
		}

		/// Says that an order's container runs. Paid time begins.
		///
		/// If a check of the worker was over and its closing ends the order, the call leaves it at that.
		///
		/// - **Origin**: fee-less with the worker key's signature, or signed by the worker's owner with
		///   `signature: None`.
		/// - `order`: the order, `Deploying`, within its deadline.
		/// - `signature`: sr25519 of the worker key over
		///   `order_payload(b"kaisar/confirm_deployment", genesis hash, (order,))`.
		/// - **Errors**: `UnknownOrder`, `WrongState`, `DeadlineOver`, `WorkerLost`, `NotOwner`,
		///   `SignatureNotExpected`.
		/// - **Events**: `OrderDeployed`.
		#[pallet::call_index(1)]
		#[pallet::weight((T::WeightInfo::confirm_deployment(), DispatchClass::Operational))]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_worker())]
		#[pallet::authorize(Self::authorize_confirm)]
		pub fn confirm_deployment(
			origin: OriginFor<T>,
			order: OrderId,
			signature: Option<sr25519::Signature>,
		) -> DispatchResult {
			let signer = ensure_sender::<T>(origin, &signature, Error::<T>::SignatureNotExpected)?;
			Self::do_confirm(signer, order)
		}

		/// Says that an order's image cannot be pulled, or does not start. 0.1 h of the price goes to the
		/// treasury, the rest back to the customer; the worker is idle again, less reliable, and not matched
		/// for a while.
		///
		/// - **Origin**: as for [`Pallet::confirm_deployment`].
		/// - `order`: the order, `Deploying`, within its deadline.
		/// - `reason`: why.
		/// - `signature`: over `order_payload(b"kaisar/fail_deployment", genesis hash, (order, reason))`.
		/// - **Errors**: as for [`Pallet::confirm_deployment`].
		/// - **Events**: `DeploymentFailed`, `OrderClosed`.
		#[pallet::call_index(2)]
		#[pallet::weight((T::WeightInfo::fail_deployment(), DispatchClass::Operational))]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_worker())]
		#[pallet::authorize(Self::authorize_fail)]
		pub fn fail_deployment(
			origin: OriginFor<T>,
			order: OrderId,
			reason: DeployFailure,
			signature: Option<sr25519::Signature>,
		) -> DispatchResult {
			let signer = ensure_sender::<T>(origin, &signature, Error::<T>::SignatureNotExpected)?;
			Self::do_fail(signer, order, reason)
		}

		/// Says that an order's container ended by itself. What was proved is paid and the rest goes back to
		/// the customer; the worker is idle again, less reliable, and not matched for a while.
		///
		/// - **Origin**: as for [`Pallet::confirm_deployment`].
		/// - `order`: the order, `Active` or `Closing`.
		/// - `code`: the container's exit code.
		/// - `signature`: over `order_payload(b"kaisar/report_exit", genesis hash, (order, code))`.
		/// - **Errors**: `UnknownOrder`, `WrongState`, `WorkerLost`, `NotOwner`, `SignatureNotExpected`.
		/// - **Events**: `ContainerExited`, `OrderClosed`.
		#[pallet::call_index(3)]
		#[pallet::weight((T::WeightInfo::report_exit(), DispatchClass::Operational))]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_worker())]
		#[pallet::authorize(Self::authorize_exit)]
		pub fn report_exit(
			origin: OriginFor<T>,
			order: OrderId,
			code: i32,
			signature: Option<sr25519::Signature>,
		) -> DispatchResult {
			let signer = ensure_sender::<T>(origin, &signature, Error::<T>::SignatureNotExpected)?;
			Self::do_exit(signer, order, code)
		}

		/// Rents the machine for longer, at today's price and with the order's plan.
		///
		/// - **Origin**: signed by the customer.
		/// - `order`: the order, `Active` and not past its end.
		/// - `hours`: by how much; the whole order is for 8,760 at most.
		/// - `max_price`: the most that these hours may cost, in units of 10⁻¹⁸ KAI.
		/// - **Errors**: `UnknownOrder`, `NotCustomer`, `WrongState`, `TooFewHours`, `TooManyHours`,
		///   `NoPrice`, `PriceAboveLimit`, `PriceBelowFloor`, `TooManyExtensions`, and the currency's.
		/// - **Events**: `OrderExtended`.
		#[pallet::call_index(4)]
		#[pallet::weight(T::WeightInfo::extend_order())]
		pub fn extend_order(
			origin: OriginFor<T>,
			order: OrderId,
			hours: u32,
			max_price: Balance,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_extend(who, order, hours, max_price)
		}

		/// Ends an order. Before it has a worker, all goes back; before it runs, all but 0.1 h of the price,
		/// which the treasury gets. After that, what was used is paid, an hour at least, at the price of the
		/// plan that it has earned, and the rest becomes credits.
		///
		/// - **Origin**: signed by the customer.
		/// - `order`: the order, not `Closing` yet.
		/// - **Errors**: `UnknownOrder`, `NotCustomer`, `WrongState`.
		/// - **Events**: `OrderClosed`, or `OrderClosing` where it runs.
		#[pallet::call_index(5)]
		#[pallet::weight(T::WeightInfo::cancel_order())]
		pub fn cancel_order(origin: OriginFor<T>, order: OrderId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_cancel(who, order)
		}

		/// Says that something is wrong with an order's machine. A bond is held, and the worker is due in a
		/// check: if it finds the worker offline or the container without an answer, the bond is back, and the
		/// order over; if both are there, the bond is the provider's.
		///
		/// - **Origin**: signed by the customer.
		/// - `order`: the order, `Active` and not past its end.
		/// - `reason`: what is wrong.
		/// - **Errors**: `UnknownOrder`, `NotCustomer`, `WrongState`, `IssueOpen`, and the currency's.
		/// - **Events**: `IssueReported`.
		#[pallet::call_index(6)]
		#[pallet::weight(T::WeightInfo::report_issue())]
		pub fn report_issue(origin: OriginFor<T>, order: OrderId, reason: Issue) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_report_issue(who, order, reason)
		}

		/// Does what is due of an order: past its end, past its deployment deadline, or after its worker
		/// failed. The chain does so by itself; this is for whoever would not wait for it.
		///
		/// - **Origin**: signed, anyone.
		/// - `order`: the order.
		/// - **Errors**: `UnknownOrder`, `NothingDue`.
		/// - **Events**: `OrderClosed` or `OrderClosing`.
		#[pallet::call_index(7)]
		#[pallet::weight(T::WeightInfo::close_order())]
		pub fn close_order(origin: OriginFor<T>, order: OrderId) -> DispatchResult {
			ensure_signed(origin)?;
			Self::do_close(order)
		}

		/// Sets the reference price of a class: the median cloud price of a unit and hour. It holds for orders
		/// and extensions from now on.
		///
		/// - **Origin**: `AdminOrigin`, or signed by the oracle.
		/// - `class`: the class, 0 for machines without a GPU.
		/// - `reference`: in units of 10⁻¹⁸ KAI; `None` for no orders.
		/// - **Errors**: `ZeroPrice`.
		/// - **Events**: `PriceSet`.
		#[pallet::call_index(8)]
		#[pallet::weight(T::WeightInfo::set_price())]
		pub fn set_price(
			origin: OriginFor<T>,
			class: GpuClass,
			reference: Option<Balance>,
		) -> DispatchResult {
			Self::ensure_pricing(origin)?;
			Self::do_set_price(class, reference)
		}

		/// Sets what a class costs to run, from which its price comes in a contingency.
		///
		/// - **Origin**: `AdminOrigin`, or signed by the oracle.
		/// - `class`: the class.
		/// - `cost`: of a unit and hour, with its multiplier; `None` for no orders in a contingency.
		/// - **Errors**: `ZeroPrice`.
		/// - **Events**: `CostSet`.
		#[pallet::call_index(9)]
		#[pallet::weight(T::WeightInfo::set_price())]
		pub fn set_cost(
			origin: OriginFor<T>,
			class: GpuClass,
			cost: Option<Cost>,
		) -> DispatchResult {
			Self::ensure_pricing(origin)?;
			Self::do_set_cost(class, cost)
		}

		/// Switches the contingency on or off.
		///
		/// - **Origin**: `AdminOrigin`.
		/// - `on`: whether prices follow costs.
		/// - **Events**: `ContingencySet`.
		#[pallet::call_index(10)]
		#[pallet::weight(T::WeightInfo::set_contingency())]
		pub fn set_contingency(origin: OriginFor<T>, on: bool) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			let old = Contingency::<T>::get();
			Contingency::<T>::put(on);
			Self::deposit_event(Event::ContingencySet { old, new: on });
			Ok(())
		}

		/// Lets an account set prices, or none.
		///
		/// - **Origin**: `AdminOrigin`.
		/// - `oracle`: the account.
		/// - **Events**: `OracleSet`.
		#[pallet::call_index(11)]
		#[pallet::weight(T::WeightInfo::set_oracle())]
		pub fn set_oracle(origin: OriginFor<T>, oracle: Option<T::AccountId>) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			let old = Oracle::<T>::get();
			Oracle::<T>::set(oracle.clone());
			Self::deposit_event(Event::OracleSet { old, new: oracle });
			Ok(())
		}

		/// Sets or removes a template. Orders that named it keep what it was.
		///
		/// - **Origin**: `AdminOrigin`.
		/// - `id`: its number.
		/// - `template`: what it is; `None` removes it.
		/// - **Errors**: `InvalidImage`.
		/// - **Events**: `TemplateSet`.
		#[pallet::call_index(12)]
		#[pallet::weight(T::WeightInfo::set_template())]
		pub fn set_template(
			origin: OriginFor<T>,
			id: TemplateId,
			template: Option<Template>,
		) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			if let Some(template) = &template {
				Self::ensure_reference(&template.image)?;
			}
			let old = Templates::<T>::get(id);
			Templates::<T>::set(id, template.clone());
			Self::deposit_event(Event::TemplateSet {
				id,
				old,
				new: template,
			});
			Ok(())
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		/// Does what is due, then matches, within [`Config::HookWeight`].
		fn on_initialize(now: BlockNumberFor<T>) -> Weight {
			let now: BlockNumber = now.saturated_into();
			let budget = T::HookWeight::get();
			let done = Self::run_agenda(now, budget.saturating_div(2));
			done.saturating_add(Self::match_orders(now, budget.saturating_sub(done)))
		}

		/// Goes on with what is due, if there was too much of it.
		fn on_idle(now: BlockNumberFor<T>, left: Weight) -> Weight {
			Self::run_agenda(now.saturated_into(), left)
		}

		fn offchain_worker(now: BlockNumberFor<T>) {
			ocw::run::<T>(now.saturated_into());
		}

		fn integrity_test() {
			let half = T::HookWeight::get().saturating_div(2);
			let least = Self::heaviest_step().saturating_add(T::WeightInfo::agenda());
			assert!(
				least.all_lte(half),
				"half of `HookWeight` must do for the heaviest step of the agenda",
			);
			let most = T::MatchDraws::get();
			let least = T::WeightInfo::match_order(most, matching::MAX_TOUCHED)
				.saturating_add(T::WeightInfo::match_orders());
			assert!(
				least.all_lte(half),
				"half of `HookWeight` must do for a match"
			);
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}
