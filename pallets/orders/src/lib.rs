//! # Orders
//!
//! Rents out machines: prices an order, matches it with a worker, holds the money in escrow, pays the
//! provider for proved time, and ends the order.
//!
//! ## Terms
//!
//! - **Customer**: the account that pays. **Order**: one machine, as a whole, for a number of hours.
//! - **Unit**: the thing priced by the hour: a GPU, or a CPU core of a machine without a GPU.
//! - **Plan**: the customer's commitment to a minimum length, which lowers the price.
//! - **Escrow**: an order's money that is neither paid nor refunded yet. KAI is on hold on the customer's
//!   own account; credits lie in the pallet's pot ([`Pallet::pot`]).
//! - **Credits**: the rest of a price after a cancellation or the container's end. Good for later orders,
//!   never paid out.
//! - **Tail**: the time between the last proof and an order's end.
//!
//! ## The story of an order
//!
//! 1. Carla orders one RTX 4090 for two hours ([`Call::place_order`]). The price book sets the price; the
//!    KAI is held on her account. The order is `Matching`.
//! 2. Two blocks later a few idle workers are drawn, with randomness that nobody could know when she
//!    ordered, and the best of them gets the order ([`matching`]). The order is `Deploying`, the worker
//!    `Rented`.
//! 3. The worker's agent pulls the image and starts the container; its node confirms the deployment
//!    ([`Call::confirm_deployment`]). The order is `Active`: paid time runs.
//! 4. About every hour a check proves that the worker is online and the container answers
//!    ([`OnClosed`](kaisar_primitives::OnClosed)). Each time the escrow pays for the time that was proved.
//! 5. Two hours later paid time is over. The order is `Closing`, and its worker is due in a check. That
//!    check proves the tail, the rest is paid, the order is `Closed`, and the worker is idle again.
//!
//! An order can also end early: no worker fits, the deployment fails or misses its deadline, the container
//! exits, Carla cancels or reports an issue, or a check finds the worker offline or the container without an
//! answer. `docs/orders.md` describes each case, and where the money goes.
//!
//! The same as a test:
//!
#![doc = docify::embed!("src/tests/story.rs", carla_rents_a_gpu_for_two_hours)]
//!
//! And an order that ends early:
//!
#![doc = docify::embed!(
	"src/tests/story.rs",
	carla_cancels_and_pays_her_next_order_with_credits
)]
//!
//! ## Money
//!
//! At any time the amount charged for an order is the sum of the amounts in escrow, paid, taken as fee, paid
//! to the treasury, refunded and credited ([`Ledger`]). Payments are rounded down, credits are used before
//! KAI, and refunds are made in the kind that was paid.
//!
//! ## Time
//!
//! Work that falls due at a block needs no call: the agenda ([`agenda`]) lists orders by the block in which
//! they are due, and each block does its due work, bounded by weight. The remainder is done in the next
//! blocks; an order that fails is put aside for later and stops no other.

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
pub mod params;
mod prices;
#[cfg(test)]
mod tests;
#[cfg(any(
	feature = "try-runtime",
	feature = "runtime-benchmarks",
	feature = "std"
))]
mod try_state;
mod types;
mod views;
pub mod weights;
mod workload;

pub use pallet::*;
pub use types::*;
pub use weights::WeightInfo;
pub use workload::*;

use sp_runtime::{
	ArithmeticError, DispatchError,
	traits::{EnsureAdd, EnsureAddAssign, EnsureMul, EnsureSub},
};

/// The log target of this pallet.
pub(crate) const LOG_TARGET: &str = "runtime::orders";

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
		GpuClasses, Issue, Market, OrderId, Plan, PlanRates, ProtocolFees, Requirement, TemplateId,
		WorkerId, WorkerRegistry, Workload, authorized::ensure_sender,
	};
	use sp_core::{H256, sr25519};
	use sp_runtime::{Perbill, traits::SaturatedConversion};

	/// The in-code storage version.
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

		/// The runtime's hold reasons, this pallet's among them.
		type RuntimeHoldReason: From<HoldReason>;

		/// The registry of workers, and its market of idle ones.
		type Workers: WorkerRegistry<Self::AccountId> + Market;

		/// Rounds and checks.
		type Checks: Checks;

		/// Randomness of blocks.
		type Seeds: BlockSeed;

		/// The classes, and whether they are paid.
		type Classes: GpuClasses;

		/// Takes the protocol's part of payments.
		type Fees: ProtocolFees<Self::AccountId>;

		/// The treasury's account, which receives the price of failed deployments and of time that no check
		/// proved of orders whose container ended.
		type Treasury: Get<Self::AccountId>;

		/// The id from which the pot's account is derived.
		#[pallet::constant]
		type PalletId: Get<PalletId>;

		/// The origin that may set prices, the oracle, the contingency and templates.
		type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;

		/// The part of a price that remains with each plan. *Param.*
		type PlanRates: Get<PlanRates>;

		/// The protocol's part of a payment. *Param.*
		type ProtocolFee: Get<Perbill>;

		/// The KAI held for a report of an issue. A customer who cannot pay it cannot report. *Param.*
		type IssueBond: Get<Balance>;

		/// Blocks that a worker has for deploying, unless the order names a number; held to
		/// [`params::DEPLOY_DEADLINE`], and to the time that is bought. *Param.*
		type DeployDeadline: Get<BlockNumber>;

		/// Fewest blocks charged for a deployment that fails by the customer's fault: 0.1 h; held to
		/// [`params::SETUP_BLOCKS`]. *Param.*
		type SetupBlocks: Get<BlockNumber>;

		/// Blocks for which a worker that failed to deploy an order is not rented; held to
		/// [`params::BAR_BLOCKS`]. *Param.*
		type BarBlocks: Get<BlockNumber>;

		/// Blocks after which the agenda looks again for the check that proves an order's tail; held to
		/// [`params::CLOSING_TIMEOUT`]. *Param.*
		type ClosingTimeout: Get<BlockNumber>;

		/// Blocks for which a closed order stays in storage; held to [`params::HISTORY`]. *Param.*
		type History: Get<BlockNumber>;

		/// Fitting workers among which an order's worker is chosen; held to [`params::MATCH_DRAWS`].
		/// *Param.*
		type MatchDraws: Get<u32>;

		/// The weight that a block gives to the agenda and to matching. Each gets half of it first, then
		/// whatever the other left unused.
		type HookWeight: Get<Weight>;

		/// Weights of the calls and hooks.
		type WeightInfo: WeightInfo;
	}

	/// The price book: reference price and cost by class.
	#[pallet::storage]
	pub type PriceBook<T> = StorageMap<_, Identity, GpuClass, ClassPrice>;

	/// Whether prices follow costs. Governance switches it.
	#[pallet::storage]
	pub type Contingency<T> = StorageValue<_, bool, ValueQuery>;

	/// The account that may set prices, next to governance.
	#[pallet::storage]
	pub type Oracle<T: Config> = StorageValue<_, T::AccountId>;

	/// The chain's list of templates: workloads that orders can name.
	#[pallet::storage]
	pub type Templates<T> = StorageMap<_, Twox64Concat, TemplateId, Template>;

	/// The number of the next order.
	#[pallet::storage]
	pub type NextOrderId<T> = StorageValue<_, OrderId, ValueQuery>;

	/// Orders: open ones, and those closed within [`Config::History`]. Numbers are given out in order, so
	/// they need no hash.
	#[pallet::storage]
	pub type Orders<T: Config> = StorageMap<_, Identity, OrderId, OrderOf<T>>;

	/// The workload of each order that is not closed, apart from its record because every payment writes the
	/// record.
	#[pallet::storage]
	pub type Workloads<T> = StorageMap<_, Identity, OrderId, Ordered>;

	/// The orders of each customer, by number in big-endian bytes, so that keys are in the order of numbers,
	/// and a page is a range of them.
	#[pallet::storage]
	pub type OrdersByCustomer<T: Config> =
		StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, [u8; 4], ()>;

	/// The queue of orders to be matched, oldest first.
	#[pallet::storage]
	pub type Queue<T> = StorageMap<_, Twox64Concat, u64, Waiting>;

	/// The queue's head and tail.
	#[pallet::storage]
	pub type QueueEnds<T> = StorageValue<_, QueueBounds, ValueQuery>;

	/// Orders by the block in which they are due, in pages of [`AGENDA_PAGE`].
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

	/// The number of entries a block has in the agenda.
	#[pallet::storage]
	pub type AgendaLen<T> = StorageMap<_, Twox64Concat, BlockNumber, u32, ValueQuery>;

	/// The agenda's position. Unset before the first block.
	#[pallet::storage]
	pub type AgendaCursor<T> = StorageValue<_, Cursor>;

	/// Credits by account, excluding those in escrow.
	#[pallet::storage]
	pub type Credits<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, Balance, ValueQuery>;

	/// The sum of all credits, including those in escrow. The pot holds at least this amount of KAI above
	/// its existential deposit.
	#[pallet::storage]
	pub type TotalCredits<T> = StorageValue<_, Balance, ValueQuery>;

	/// The state at genesis.
	#[pallet::genesis_config]
	pub struct GenesisConfig<T: Config> {
		/// Reference prices of a unit and hour, one for each class, in units of 10⁻¹⁸ KAI.
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
				assert!(*reference > 0, "a class's genesis price is zero");
				assert!(
					!PriceBook::<T>::contains_key(class),
					"a class has two prices"
				);
				let price = ClassPrice {
					reference: Some(*reference),
					cost: None,
				};
				PriceBook::<T>::insert(class, price);
			}
			Pallet::<T>::found_pot().expect("the pot can be founded at genesis");
		}
	}

	/// Reasons for which the pallet holds KAI.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// The escrow of an order.
		Escrow,
		/// The bond of a report.
		IssueBond,
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	// An event is built and encoded at once, so the large variant wastes no memory.
	#[allow(missing_docs, clippy::large_enum_variant)]
	pub enum Event<T: Config> {
		/// An order was placed, and its price is in escrow.
		OrderPlaced {
			order: OrderId,
			customer: T::AccountId,
			requirement: Requirement,
			hours: u32,
			plan: Plan,
			/// The price of a unit and hour with the plan.
			unit_price: Balance,
			/// The price of the whole order.
			charged: Money,
		},
		/// A worker was matched to an order and has to deploy it.
		OrderMatched {
			order: OrderId,
			worker: WorkerId,
			/// The last block in which its deployment may be confirmed. The deadline is counted from the
			/// block in which the machine has finished the proofs that it owed before the match.
			deploy_by: BlockNumber,
		},
		/// An order's container was started, and its paid time began.
		OrderDeployed {
			order: OrderId,
			worker: WorkerId,
			/// The block in which paid time ends.
			ends_at: BlockNumber,
		},
		/// A worker's agent could not deploy an order.
		DeploymentFailed {
			order: OrderId,
			worker: WorkerId,
			reason: DeployFailure,
		},
		/// An order's container ended by itself.
		ContainerExited {
			order: OrderId,
			worker: WorkerId,
			/// The container's exit code.
			code: i32,
		},
		/// Proved time of an order was paid for.
		OrderPaid {
			order: OrderId,
			worker: WorkerId,
			/// The worker's owner, or the treasury if the amount is too small to create the owner's account.
			to: T::AccountId,
			/// The amount paid, without the fee.
			amount: Balance,
			/// The protocol's part, on top of `amount`.
			fee: Balance,
			/// Blocks of paid time proved so far.
			proved: BlockNumber,
		},
		/// An order was extended.
		OrderExtended {
			order: OrderId,
			/// The hours added.
			hours: u32,
			/// The price of a unit and hour of the extension.
			unit_price: Balance,
			/// The price of the extension, in KAI.
			charged: Balance,
			/// The block in which paid time ends now.
			ends_at: BlockNumber,
		},
		/// An order's paid time ended, and it waits for the check that proves its tail.
		OrderClosing {
			order: OrderId,
			/// `Expired` or `Cancelled`.
			reason: CloseReason,
			/// The block in which its paid time ended.
			ends_at: BlockNumber,
		},
		/// An order was closed.
		OrderClosed {
			order: OrderId,
			reason: CloseReason,
			/// The total paid to the worker's owner.
			paid: Balance,
			/// The protocol's part, and the treasury's: for a failed deployment, or for time that no check
			/// proved of an order whose container ended.
			fee: Balance,
			/// The amount given back, in the kind it was paid in.
			refunded: Money,
			/// The amount turned into credits.
			credited: Balance,
		},
		/// A step of an order's processing failed. It is retried later.
		OrderFailed {
			order: OrderId,
			error: DispatchError,
		},
		/// A customer reported an issue, and the worker became due in a check.
		IssueReported {
			order: OrderId,
			worker: WorkerId,
			reason: Issue,
			/// The KAI held for the report.
			bond: Balance,
		},
		/// A reported issue was resolved.
		IssueResolved {
			order: OrderId,
			/// Whether the customer got the bond back; if not, the worker's owner got it.
			returned: bool,
			bond: Balance,
		},
		/// An account received credits.
		CreditsGiven { who: T::AccountId, amount: Balance },
		/// An account used credits for an order.
		CreditsUsed {
			who: T::AccountId,
			order: OrderId,
			amount: Balance,
		},
		/// The reference price of a class was set.
		PriceSet {
			class: GpuClass,
			/// `None` if it had no price.
			old: Option<Balance>,
			/// `None` if the price was removed.
			new: Option<Balance>,
		},
		/// The cost of a class was set.
		CostSet {
			class: GpuClass,
			/// `None` if it had no cost.
			old: Option<Cost>,
			/// `None` if the cost was removed.
			new: Option<Cost>,
		},
		/// The contingency was switched on or off.
		ContingencySet { old: bool, new: bool },
		/// The account that may set prices was changed.
		OracleSet {
			/// `None` if there was none.
			old: Option<T::AccountId>,
			/// `None` if it was removed.
			new: Option<T::AccountId>,
		},
		/// A template was set or removed.
		TemplateSet {
			id: TemplateId,
			/// `None` if it is new.
			old: Option<Template>,
			/// `None` if it was removed.
			new: Option<Template>,
		},
		/// The key that may connect to an order's container was changed.
		ClientKeySet {
			order: OrderId,
			old: ClientKey,
			new: ClientKey,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// No order has this number, or it closed long ago and its record was removed.
		UnknownOrder,
		/// The caller is not the order's customer.
		NotCustomer,
		/// The caller does not own the order's worker.
		NotOwner,
		/// A signed extrinsic carries a second signature; `signature` must be `None`.
		SignatureNotExpected,
		/// The order's state does not allow the call: for example, it is over, or its container does not run
		/// yet.
		WrongState,
		/// The worker no longer serves this order.
		WorkerLost,
		/// The requirement is unsatisfiable: GPUs without a class, a class without GPUs, no CPU tier in
		/// class 0, a tier above 4, or a region that is not two uppercase letters.
		InvalidRequirement,
		/// The image reference is empty, does not start with a letter or digit, or has a character that OCI
		/// references cannot have.
		InvalidImage,
		/// Arguments and environment, with those of the template, exceed 2,048 bytes or 64 entries each; an
		/// argument has a zero byte or is not UTF-8, a variable has no name, or a port is 0 or repeated; or
		/// `deploy_blocks` is neither 0 nor 75 to 600, or exceeds the hours bought.
		InvalidWorkload,
		/// No template has this number.
		UnknownTemplate,
		/// Fewer hours than the plan's minimum (1, 720 or 2,160), or an extension of zero hours.
		TooFewHours,
		/// More hours than the maximum of an order, 8,760.
		TooManyHours,
		/// The class has no price, or is not paid yet, and cannot be ordered. Choose another class.
		NoPrice,
		/// The price, the cost or its multiplier is zero.
		ZeroPrice,
		/// The price is above the caller's limit. Get a new quote, or raise the limit.
		PriceAboveLimit,
		/// The price is below the worker's floor, so the order cannot be extended. Place a new order.
		PriceBelowFloor,
		/// The order would use more credits than the account has. Use fewer, and pay the rest in KAI.
		InsufficientCredits,
		/// The order was already extended 7 times, which is the maximum. Place a new order.
		TooManyExtensions,
		/// The order's deployment deadline has passed.
		DeadlineOver,
		/// The order already has an open issue. Wait for the check that resolves it.
		IssueOpen,
		/// Nothing is due for the order now.
		NothingDue,
		/// The order's stored state is inconsistent; a bug.
		Inconsistent,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// Returns the current price of an order, or the error with which placing it would fail.
		pub fn quote(
			requirement: Requirement,
			hours: u32,
			plan: Plan,
		) -> Result<Quote, DispatchError> {
			Self::do_quote(&requirement, hours, plan)
		}

		/// Returns an order with its workload and the price of its proved time; `None` if there is no such
		/// order.
		pub fn order(id: OrderId) -> Option<OrderView<T::AccountId>> {
			Self::view_of(id)
		}

		/// Returns a customer's orders from number `from` on, at most `limit` of them and at most
		/// [`kaisar_primitives::MAX_PAGE`], and the number to continue from; `None` at the end of the list.
		pub fn orders_of(
			customer: T::AccountId,
			from: OrderId,
			limit: u32,
		) -> (Vec<OrderView<T::AccountId>>, Option<OrderId>) {
			Self::page_of(&customer, from, limit)
		}

		/// Returns a page of the workers from which an order of this requirement and plan would be drawn
		/// now, with the conditions that each fails. It reads `limit` workers, from 1 to
		/// [`kaisar_primitives::MAX_PAGE`], starting at position `from`. Positions change whenever a worker
		/// is listed or unlisted.
		pub fn candidates(
			requirement: Requirement,
			plan: Plan,
			from: u32,
			limit: u32,
		) -> Result<CandidatePage, DispatchError> {
			Self::do_candidates(&requirement, plan, from, limit)
		}

		/// Returns the order that a worker serves, if any.
		pub fn order_of(worker: WorkerId) -> Option<OrderView<T::AccountId>> {
			T::Workers::info(worker, T::Checks::next_round())
				.and_then(|info| info.order)
				.and_then(Self::view_of)
		}

		/// Returns an account's credits, in units of 10⁻¹⁸ KAI.
		pub fn credits(who: T::AccountId) -> Balance {
			Credits::<T>::get(who)
		}

		/// Returns the current prices of a unit and hour of a class, if it has a price.
		pub fn price(gpu_class: GpuClass) -> Option<Prices> {
			Self::prices_of(gpu_class).ok()
		}

		/// Returns the price book from class `from` on. It reads `limit` classes, at most
		/// [`kaisar_primitives::MAX_PAGE`].
		pub fn price_book(from: GpuClass, limit: u32) -> Vec<(GpuClass, ClassPrice)> {
			Self::book_from(from, limit)
		}

		/// Returns a page of the templates, in no particular order: those that follow number `after`, by
		/// default the first, at most `limit` of them and at most [`kaisar_primitives::MAX_PAGE`]. A page
		/// with fewer is the last.
		pub fn templates(after: Option<TemplateId>, limit: u32) -> Vec<(TemplateId, Template)> {
			Self::templates_after(after, limit)
		}

		/// Returns a template; `None` if no template has this number.
		pub fn template(id: TemplateId) -> Option<Template> {
			Templates::<T>::get(id)
		}

		/// Returns the number of entries in the matching queue, including orders canceled meanwhile.
		pub fn waiting() -> u64 {
			let QueueBounds { head, tail } = QueueEnds::<T>::get();
			tail.saturating_sub(head)
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Places an order for a machine and holds its full price on the customer's account, less the
		/// credits it uses.
		///
		/// A worker is drawn two blocks later, or once no census is preparing. The call's weight includes
		/// the work of matching, ending and forgetting the order in later blocks.
		///
		/// # Origin
		/// Signed, by the customer.
		///
		/// # Parameters
		/// - `requirement`: the machine; an order rents all of it.
		/// - `workload`: the image to run (an OCI reference or a template), with arguments, environment and
		///   TCP ports; whether the agent waits for a sealed part, which has no effect yet; the blocks that
		///   the deployment may take, 75 to 600, or 0 for [`Config::DeployDeadline`]; whether another worker
		///   takes over if the first one fails, which has no effect yet. An order's own arguments and ports
		///   replace those of a template, its variables follow them.
		/// - `hours`: the length in hours, counted from the deployment; at least the plan's minimum, at most
		///   8,760.
		/// - `plan`: the commitment that lowers the price.
		/// - `max_price`: the highest price of the whole order that the customer accepts, credits included,
		///   in units of 10⁻¹⁸ KAI.
		/// - `credits`: the credits to use, in units of 10⁻¹⁸ KAI; anything above the price stays unused.
		/// - `client_key`: the ed25519 key that may connect to the container.
		///
		/// # Errors
		/// - [`Error::InvalidRequirement`]: no machine can meet the requirement.
		/// - [`Error::InvalidImage`]: the image is not an OCI reference.
		/// - [`Error::InvalidWorkload`]: the workload exceeds its limits, or `deploy_blocks` the hours
		///   bought.
		/// - [`Error::UnknownTemplate`]: no template has the number that the workload names.
		/// - [`Error::TooFewHours`], [`Error::TooManyHours`]: `hours` is below the plan's minimum or above
		///   8,760.
		/// - [`Error::NoPrice`]: the class has no price, or is not paid.
		/// - [`Error::PriceAboveLimit`]: the order costs more than `max_price`.
		/// - [`Error::InsufficientCredits`]: the account has fewer credits than the order uses.
		/// - The currency's error if the account has too little KAI.
		///
		/// # Events
		/// - [`Event::OrderPlaced`].
		/// - [`Event::CreditsUsed`]: the order uses credits.
		#[pallet::call_index(0)]
		#[pallet::weight(
			T::WeightInfo::place_order()
				.saturating_add(Pallet::<T>::charged_match())
				.saturating_add(T::WeightInfo::agenda_end())
				.saturating_add(T::WeightInfo::agenda_forget())
		)]
		#[allow(clippy::too_many_arguments)]
		pub fn place_order(
			origin: OriginFor<T>,
			requirement: Requirement,
			workload: Workload,
			hours: u32,
			plan: Plan,
			max_price: Balance,
			credits: Balance,
			client_key: ClientKey,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let deploy_blocks = workload.deploy_blocks;
			let ordered = Self::resolve(workload, client_key)?;
			let terms = life::Terms {
				requirement,
				hours,
				plan,
				deploy_blocks,
			};
			Self::do_place(who, terms, ordered, max_price, credits)
		}

		/// Confirms that an order's container runs, which starts paid time.
		///
		/// If a check of the worker has ended but is still open, the call closes it first. If that ends the
		/// order, the call succeeds and does nothing more.
		///
		/// # Origin
		/// Fee-less, with the worker key's signature; or signed, by the worker's owner, with `signature:
		/// None`.
		///
		/// # Parameters
		/// - `order`: the order, `Deploying` and within its deadline.
		/// - `signature`: the worker key's sr25519 signature of `order_payload(b"kaisar/confirm_deployment",
		///   genesis hash, (order,))`.
		///
		/// # Errors
		/// - [`Error::UnknownOrder`]: no order has this number.
		/// - [`Error::WrongState`]: the order is not `Deploying`.
		/// - [`Error::DeadlineOver`]: the order's deployment deadline has passed.
		/// - [`Error::WorkerLost`]: the worker no longer serves the order.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::SignatureNotExpected`]: a signed extrinsic carries a second signature.
		///
		/// # Events
		/// [`Event::OrderDeployed`]
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

		/// Reports that an order cannot be deployed, which ends it.
		///
		/// If the customer is at fault ([`DeployFailure::is_customers`]), the price of the time since the
		/// match, at least of [`Config::SetupBlocks`], goes to the treasury, the rest is refunded, and the
		/// worker is idle again. Otherwise everything is refunded; the worker becomes less reliable, and is
		/// barred for [`Config::BarBlocks`].
		///
		/// If a check of the worker has ended but is still open, the call closes it first. If that ends the
		/// order, the call succeeds and does nothing more.
		///
		/// # Origin
		/// As for [`Pallet::confirm_deployment`].
		///
		/// # Parameters
		/// - `order`: the order, `Deploying` and within its deadline.
		/// - `reason`: the reason of the failure.
		/// - `signature`: the worker key's sr25519 signature of `order_payload(b"kaisar/fail_deployment",
		///   genesis hash, (order, reason))`.
		///
		/// # Errors
		/// As for [`Pallet::confirm_deployment`].
		///
		/// # Events
		/// - [`Event::DeploymentFailed`].
		/// - [`Event::CreditsGiven`]: the order was paid with credits, which are refunded.
		/// - [`Event::OrderClosed`].
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

		/// Reports that an order's container ended by itself, which ends the order.
		///
		/// The customer pays for used time as after a cancellation: the provider gets the part that checks
		/// proved, the treasury the rest. The price of unused time becomes credits, or is refunded in its
		/// kind if checks proved nothing yet. The worker is idle again, and can be rented once a full check
		/// supports its claim.
		///
		/// If a check of the worker has ended but is still open, the call closes it first. If that ends the
		/// order, the call succeeds and does nothing more.
		///
		/// # Origin
		/// As for [`Pallet::confirm_deployment`].
		///
		/// # Parameters
		/// - `order`: the order, `Active` or `Closing`.
		/// - `code`: the container's exit code.
		/// - `signature`: the worker key's sr25519 signature of `order_payload(b"kaisar/report_exit",
		///   genesis hash, (order, code))`.
		///
		/// # Errors
		/// - [`Error::UnknownOrder`]: no order has this number.
		/// - [`Error::WrongState`]: the order is neither `Active` nor `Closing`.
		/// - [`Error::WorkerLost`]: the worker no longer serves the order.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::SignatureNotExpected`]: a signed extrinsic carries a second signature.
		///
		/// # Events
		/// - [`Event::ContainerExited`].
		/// - [`Event::OrderPaid`]: proved time was not paid yet.
		/// - [`Event::CreditsGiven`]: the customer gets credits.
		/// - [`Event::IssueResolved`]: the customer had an open issue.
		/// - [`Event::OrderClosed`].
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

		/// Extends an order, at today's price and with the order's plan.
		///
		/// # Origin
		/// Signed, by the customer.
		///
		/// # Parameters
		/// - `order`: the order, `Active` and not past its end.
		/// - `hours`: the hours to add, at least 1; the whole order may have at most 8,760.
		/// - `max_price`: the highest price of these hours that the customer accepts, in units of 10⁻¹⁸ KAI.
		///
		/// # Errors
		/// - [`Error::UnknownOrder`]: no order has this number.
		/// - [`Error::NotCustomer`]: the caller is not the order's customer.
		/// - [`Error::WrongState`]: the order is not `Active`, or past its end.
		/// - [`Error::TooFewHours`]: `hours` is 0.
		/// - [`Error::TooManyHours`]: the whole order would have more than 8,760 hours.
		/// - [`Error::NoPrice`]: the class has no price.
		/// - [`Error::PriceAboveLimit`]: the extension costs more than `max_price`.
		/// - [`Error::PriceBelowFloor`]: today's price is below the worker's floor when it was matched.
		/// - [`Error::TooManyExtensions`]: the order was already extended 7 times.
		/// - The currency's error if the account has too little KAI.
		///
		/// # Events
		/// [`Event::OrderExtended`]
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

		/// Cancels an order.
		///
		/// Before the order has a worker, the whole price is refunded. Before it runs, all but the price of
		/// the time since the match is refunded; that price, at least of [`Config::SetupBlocks`], goes to
		/// the treasury. After that, the customer pays for used time, at least one hour, at the price of the
		/// plan that this time has earned, and the rest becomes credits.
		///
		/// # Origin
		/// Signed, by the customer.
		///
		/// # Parameters
		/// - `order`: the order, neither `Closing` nor closed.
		///
		/// # Errors
		/// - [`Error::UnknownOrder`]: no order has this number.
		/// - [`Error::NotCustomer`]: the caller is not the order's customer.
		/// - [`Error::WrongState`]: the order is `Closing` or closed.
		///
		/// # Events
		/// - [`Event::OrderClosed`]: the order did not run yet.
		/// - [`Event::CreditsGiven`]: the order did not run yet and was paid with credits, which are
		///   refunded.
		/// - [`Event::OrderClosing`]: the order was running; it closes with the check that proves its tail.
		#[pallet::call_index(5)]
		#[pallet::weight(T::WeightInfo::cancel_order())]
		pub fn cancel_order(origin: OriginFor<T>, order: OrderId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_cancel(who, order)
		}

		/// Reports an issue with an order's machine, holds a bond and makes the worker due in a check.
		///
		/// If the check finds the worker offline or the container without an answer, the bond is returned
		/// and the order ends; if both answer, the bond goes to the worker's owner.
		///
		/// # Origin
		/// Signed, by the customer.
		///
		/// # Parameters
		/// - `order`: the order, `Active` and not past its end.
		/// - `reason`: the kind of issue.
		///
		/// # Errors
		/// - [`Error::UnknownOrder`]: no order has this number.
		/// - [`Error::NotCustomer`]: the caller is not the order's customer.
		/// - [`Error::WrongState`]: the order is not `Active`, or past its end.
		/// - [`Error::IssueOpen`]: the order already has an open issue.
		/// - The currency's error if the account has too little KAI for the bond, [`Config::IssueBond`].
		///
		/// # Events
		/// [`Event::IssueReported`]
		#[pallet::call_index(6)]
		#[pallet::weight(T::WeightInfo::report_issue())]
		pub fn report_issue(origin: OriginFor<T>, order: OrderId, reason: Issue) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_report_issue(who, order, reason)
		}

		/// Does the work that is due for an order: past its end, past its deployment deadline, or after its
		/// worker failed.
		///
		/// The chain does the same by itself; the call spares the wait.
		///
		/// # Origin
		/// Signed, by any account.
		///
		/// # Parameters
		/// - `order`: the order.
		///
		/// # Errors
		/// - [`Error::UnknownOrder`]: no order has this number.
		/// - [`Error::NothingDue`]: nothing is due for the order now, or it is `Matching` or closed.
		///
		/// # Events
		/// - [`Event::OrderClosing`]: its paid time is over, and its last check is still to come.
		/// - [`Event::OrderPaid`]: proved time was not paid yet.
		/// - [`Event::CreditsGiven`]: the customer gets credits.
		/// - [`Event::IssueResolved`]: the customer had an open issue.
		/// - [`Event::OrderClosed`]: the order is over.
		#[pallet::call_index(7)]
		#[pallet::weight(T::WeightInfo::close_order())]
		pub fn close_order(origin: OriginFor<T>, order: OrderId) -> DispatchResult {
			ensure_signed(origin)?;
			Self::do_close(order)
		}

		/// Sets the reference price of a class: the median cloud price of a unit and hour.
		///
		/// Orders and extensions pay it from now on.
		///
		/// # Origin
		/// [`Config::AdminOrigin`], or signed, by the oracle.
		///
		/// # Parameters
		/// - `class`: the class; 0 is that of machines without a GPU.
		/// - `reference`: the price in units of 10⁻¹⁸ KAI, above zero; `None` stops orders of the class.
		///
		/// # Errors
		/// - [`Error::ZeroPrice`]: the price is zero.
		///
		/// # Events
		/// [`Event::PriceSet`]
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

		/// Sets the running cost of a class, from which its price is computed in a contingency.
		///
		/// # Origin
		/// [`Config::AdminOrigin`], or signed, by the oracle.
		///
		/// # Parameters
		/// - `class`: the class; 0 is that of machines without a GPU.
		/// - `cost`: the cost of a unit and hour in units of 10⁻¹⁸ KAI, and its multiplier, both above zero;
		///   `None` stops orders of the class in a contingency.
		///
		/// # Errors
		/// - [`Error::ZeroPrice`]: the cost or its multiplier is zero.
		///
		/// # Events
		/// [`Event::CostSet`]
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
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `on`: whether prices follow costs.
		///
		/// # Events
		/// [`Event::ContingencySet`]
		#[pallet::call_index(10)]
		#[pallet::weight(T::WeightInfo::set_contingency())]
		pub fn set_contingency(origin: OriginFor<T>, on: bool) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			let old = Contingency::<T>::get();
			Contingency::<T>::put(on);
			Self::deposit_event(Event::ContingencySet { old, new: on });
			Ok(())
		}

		/// Sets or removes the oracle: the account that may set prices.
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `oracle`: the account; `None` leaves pricing to governance alone.
		///
		/// # Events
		/// [`Event::OracleSet`]
		#[pallet::call_index(11)]
		#[pallet::weight(T::WeightInfo::set_oracle())]
		pub fn set_oracle(origin: OriginFor<T>, oracle: Option<T::AccountId>) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			let old = Oracle::<T>::get();
			Oracle::<T>::set(oracle.clone());
			Self::deposit_event(Event::OracleSet { old, new: oracle });
			Ok(())
		}

		/// Sets or removes a template.
		///
		/// Orders that named it keep its earlier content.
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `id`: the template's number.
		/// - `template`: the template's content; `None` removes it.
		///
		/// # Errors
		/// - [`Error::InvalidImage`]: the template's image is not an OCI reference.
		/// - [`Error::InvalidWorkload`]: the template exceeds the limits of a workload.
		///
		/// # Events
		/// [`Event::TemplateSet`]
		#[pallet::call_index(12)]
		#[pallet::weight(T::WeightInfo::set_template())]
		pub fn set_template(
			origin: OriginFor<T>,
			id: TemplateId,
			template: Option<Template>,
		) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_set_template(id, template)
		}

		/// Replaces the key that may connect to an order's container, for a customer that lost the old one.
		///
		/// The worker's agent gets the new key with the next block, and closes connections of the old key
		/// within seconds.
		///
		/// # Origin
		/// Signed, by the customer.
		///
		/// # Parameters
		/// - `order`: an order that is not closed.
		/// - `client_key`: the ed25519 key that alone may connect from now on.
		///
		/// # Errors
		/// - [`Error::UnknownOrder`]: no order has this number.
		/// - [`Error::NotCustomer`]: the caller is not the order's customer.
		/// - [`Error::WrongState`]: the order is closed.
		///
		/// # Events
		/// [`Event::ClientKeySet`]
		#[pallet::call_index(13)]
		#[pallet::weight(T::WeightInfo::set_client_key())]
		pub fn set_client_key(
			origin: OriginFor<T>,
			order: OrderId,
			client_key: ClientKey,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_client_key(&who, order, client_key)
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		/// Runs the agenda, then matches orders, within [`Config::HookWeight`].
		fn on_initialize(now: BlockNumberFor<T>) -> Weight {
			let now: BlockNumber = now.saturated_into();
			let budget = T::HookWeight::get();
			let done = Self::run_agenda(now, budget.saturating_div(2));
			let seed = now.checked_sub(1).and_then(T::Seeds::seed_of);
			done.saturating_add(Self::match_orders(now, seed, budget.saturating_sub(done)))
		}

		/// Continues the agenda and then matching, with the weight that the block has left. By now the
		/// randomness of the block before is public, so the running block's own draws.
		fn on_idle(now: BlockNumberFor<T>, left: Weight) -> Weight {
			let now: BlockNumber = now.saturated_into();
			let done = Self::run_agenda(now, left);
			let seed = T::Seeds::running();
			done.saturating_add(Self::match_orders(now, seed, left.saturating_sub(done)))
		}

		fn offchain_worker(now: BlockNumberFor<T>) {
			ocw::run::<T>(now.saturated_into());
		}

		fn integrity_test() {
			let half = T::HookWeight::get().saturating_div(2);
			let least = Self::heaviest_step().saturating_add(T::WeightInfo::agenda());
			assert!(
				least.all_lte(half),
				"half of `HookWeight` must suffice for the heaviest step of the agenda",
			);
			let most = matching::most_draws(u32::MAX, *params::MATCH_DRAWS.end());
			let least = Self::heaviest_match(most)
				.saturating_add(T::WeightInfo::match_look())
				.saturating_add(T::WeightInfo::match_orders());
			assert!(
				least.all_lte(half),
				"half of `HookWeight` must suffice for a match"
			);
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}
