//! A worker's stake, and the arithmetic by which a slash reaches all of it in one write.
//!
//! | part | holder | held as |
//! | --- | --- | --- |
//! | [`own`](StakePool::own) | the owner's stake | an amount |
//! | [`own_unbonding`](StakePool::own_unbonding) | the owner's unbonding stake | shares |
//! | [`delegated`](StakePool::delegated) | the delegators' stake | shares |
//! | [`unbonding`](StakePool::unbonding) | the delegators' unbonding stake | shares |
//!
//! A part held in shares consists of two figures: its value and the number of outstanding shares. Added
//! stake buys shares at the part's price, rounded down; stake taken out burns shares, rounded up. So any
//! rounding remainder stays with the remaining holders, and never exceeds a unit or the price of a share. A
//! slash lowers the part's value and leaves the shares alone: all holders bear it in proportion.
//!
//! **A slash takes the same rate of every part**, each rounded down. So stake that others add to a pool
//! does not change its owner's loss, and moving stake from one part to another gains nothing.
//!
//! **When a part is slashed whole**, its shares become worthless. For an unbonding part a new generation of
//! shares begins at once, so that stake that starts to unbond later does not mix with worthless shares:
//! pieces of an earlier generation are worth nothing. Delegators' shares remain, worthless, because rewards
//! are also divided by them; the worker cannot be delegated to until they are cleared, which anyone may do
//! ([`clear_worthless`](crate::Call::clear_worthless)).

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::defensive;
use kaisar_math::stake::{shares_for, shares_of, slash_at, slash_shared, value_of};
use kaisar_primitives::{Balance, BlockNumber};
use scale_info::TypeInfo;
use sp_runtime::{ArithmeticError, Perquintill, traits::EnsureAdd};

/// A part of a pool in which accounts hold shares.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct SharedStake {
	/// The value of all shares together.
	#[codec(compact)]
	pub value: Balance,
	/// The number of outstanding shares.
	#[codec(compact)]
	pub shares: Balance,
}

impl SharedStake {
	/// Returns whether shares can be bought: none are outstanding, or those that are have a price.
	pub fn is_open(&self) -> bool {
		self.value > 0 || self.shares == 0
	}

	/// Returns the value of `shares`, rounded down. `None` if fewer are outstanding.
	pub fn worth(&self, shares: Balance) -> Option<Balance> {
		self.shares.checked_sub(shares)?;
		value_of(shares, self.shares, self.value)
	}

	/// Adds `amount`, and returns the number of shares that it buys. `None` if the part is not open, or on
	/// overflow.
	pub fn add(&mut self, amount: Balance) -> Option<Balance> {
		let bought = shares_for(amount, self.shares, self.value)?;
		let value = self.value.checked_add(amount)?;
		let shares = self.shares.checked_add(bought)?;
		*self = Self { value, shares };
		Some(bought)
	}

	/// Takes out `amount` for a holder of `held` shares, and returns the number of shares burnt: all of
	/// them if `amount` is their whole value. `None` if they are worth less.
	pub fn take(&mut self, amount: Balance, held: Balance) -> Option<Balance> {
		let burnt = if self.worth(held)? == amount {
			held
		} else {
			shares_of(amount, self.shares, self.value)?
		};
		held.checked_sub(burnt)?;
		self.value = self.value.checked_sub(amount)?;
		self.shares = self.shares.checked_sub(burnt)?;
		Some(burnt)
	}

	/// Takes out `shares`, and returns their value. `None` if fewer are outstanding.
	pub fn redeem(&mut self, shares: Balance) -> Option<Balance> {
		let amount = self.worth(shares)?;
		self.shares = self.shares.checked_sub(shares)?;
		self.value = self.value.checked_sub(amount)?;
		Some(amount)
	}

	/// Slashes the part at `rate`, and returns the amount taken: all of it if the remainder would be below
	/// the lowest price of its shares.
	fn slash(&mut self, rate: Perquintill) -> Balance {
		let amount = slash_at(rate, self.value);
		let taken = slash_shared(amount, self.shares, self.value);
		let Some(left) = self.value.checked_sub(taken) else {
			defensive!("a slash never takes more than the whole");
			return 0;
		};
		self.value = left;
		taken
	}
}

/// An unbonding part of a pool.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct UnbondingStake {
	/// The value and the shares of the current generation.
	pub part: SharedStake,
	/// The number of times that all of it was slashed. Shares of an earlier generation are worth nothing.
	#[codec(compact)]
	pub generation: u32,
}

impl UnbondingStake {
	/// Adds `amount`, to be withdrawn from block `until`. `None` on overflow.
	pub fn add(&mut self, amount: Balance, until: BlockNumber) -> Option<Unbonding> {
		Some(Unbonding {
			shares: self.part.add(amount)?,
			generation: self.generation,
			until,
		})
	}

	/// Returns the value of a piece. `None` if fewer shares are outstanding.
	pub fn worth(&self, piece: &Unbonding) -> Option<Balance> {
		if piece.generation == self.generation {
			self.part.worth(piece.shares)
		} else {
			Some(0)
		}
	}

	/// Takes out a piece, and returns its value. `None` if fewer shares are outstanding.
	pub fn redeem(&mut self, piece: &Unbonding) -> Option<Balance> {
		if piece.generation == self.generation {
			self.part.redeem(piece.shares)
		} else {
			Some(0)
		}
	}

	/// Slashes the part at `rate`, and returns the amount taken. If that is all, a new generation begins.
	fn slash(&mut self, rate: Perquintill) -> Balance {
		let taken = self.part.slash(rate);
		if !self.part.is_open() {
			self.part.shares = 0;
			// An overflow would take more whole slashes than there are blocks.
			self.generation = self.generation.saturating_add(1);
		}
		taken
	}
}

/// A piece of unbonding stake.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Unbonding {
	/// Shares of the unbonding part.
	#[codec(compact)]
	pub shares: Balance,
	/// The generation of the shares.
	#[codec(compact)]
	pub generation: u32,
	/// The first block in which it may be withdrawn.
	pub until: BlockNumber,
}

/// A worker's stake.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct StakePool {
	/// The owner's stake.
	#[codec(compact)]
	pub own: Balance,
	/// The owner's unbonding stake.
	pub own_unbonding: UnbondingStake,
	/// The delegators' stake.
	pub delegated: SharedStake,
	/// The delegators' unbonding stake.
	pub unbonding: UnbondingStake,
	/// The number of accounts' entries: delegations, and queues of unbonding pieces.
	#[codec(compact)]
	pub entries: u32,
}

impl StakePool {
	/// Returns a pool with only the owner's stake.
	pub fn new(own: Balance) -> Self {
		Self {
			own,
			..Default::default()
		}
	}

	/// Returns the stake that earns: the owner's and the delegators'.
	pub fn bonded(&self) -> Result<Balance, ArithmeticError> {
		self.own.ensure_add(self.delegated.value)
	}

	/// Returns all that the pallet's pot holds for the worker.
	pub fn total(&self) -> Result<Balance, ArithmeticError> {
		self.bonded()?
			.ensure_add(self.own_unbonding.part.value)?
			.ensure_add(self.unbonding.part.value)
	}

	/// Returns whether the owner has no stake and no account has an entry.
	pub fn is_empty(&self) -> bool {
		self.own == 0 && self.entries == 0
	}

	/// Returns the part that holds the owner's unbonding stake, or the delegators'.
	pub fn unbonding_of(&mut self, owner: bool) -> &mut UnbondingStake {
		if owner {
			&mut self.own_unbonding
		} else {
			&mut self.unbonding
		}
	}

	/// Slashes every part at `rate`.
	pub fn slash(&mut self, rate: Perquintill) -> Slashed {
		let own = slash_at(rate, self.own);
		// A rate takes at most the whole.
		self.own -= own;
		Slashed {
			own,
			own_unbonding: self.own_unbonding.slash(rate),
			delegated: self.delegated.slash(rate),
			unbonding: self.unbonding.slash(rate),
		}
	}

	/// Returns the amount that a slash at `rate` would take now.
	pub fn slashed_at(mut self, rate: Perquintill) -> Result<Balance, ArithmeticError> {
		self.slash(rate).total()
	}
}

/// The amounts taken by a slash, part by part.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Slashed {
	/// From the owner's stake.
	pub own: Balance,
	/// From the owner's unbonding stake.
	pub own_unbonding: Balance,
	/// From the delegators' stake.
	pub delegated: Balance,
	/// From the delegators' unbonding stake.
	pub unbonding: Balance,
}

impl Slashed {
	/// Returns the sum of all parts.
	pub fn total(&self) -> Result<Balance, ArithmeticError> {
		self.own
			.ensure_add(self.own_unbonding)?
			.ensure_add(self.delegated)?
			.ensure_add(self.unbonding)
	}
}
