//! A worker's stake, and how a slash reaches all of it in one write.
//!
//! | part | holder | held as |
//! | --- | --- | --- |
//! | [`own`](StakePool::own) | the owner's stake | an amount |
//! | [`own_unbonding`](StakePool::own_unbonding) | the owner's unbonding stake | shares |
//! | [`delegated`](StakePool::delegated) | the delegators' stake | shares |
//! | [`unbonding`](StakePool::unbonding) | the delegators' unbonding stake | shares |
//!
//! A part that is held in shares is two figures, what it is worth and how many shares are out. Whoever
//! adds stake gets shares at the part's price, rounded down; whoever takes some out pays in shares,
//! rounded up. So what rounding leaves is always those who stay's, and never more than a unit or the
//! price of a share. A slash lowers what the part is worth and leaves the shares alone: everyone who
//! holds some bears it alike.
//!
//! **A slash takes the same rate of every part**, each rounded down. So stake that others add to a pool
//! does not change what its owner loses, and nobody gains by moving stake from one part to another.
//!
//! **When a part is slashed whole**, its shares are worth nothing. Of what unbonds, a new generation of
//! shares begins at once, so that nobody who leaves later stands in the way of anybody: pieces of an
//! earlier generation are worth nothing. Delegators' shares stay where they are, worthless, since they
//! are also what rewards are divided by; nobody can delegate to the worker until they are cleared, which
//! anyone may do ([`clear_worthless`](crate::Call::clear_worthless)).

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
pub struct Shared {
	/// What it is worth.
	#[codec(compact)]
	pub value: Balance,
	/// The shares that are out.
	#[codec(compact)]
	pub shares: Balance,
}

impl Shared {
	/// Whether shares can be bought: none are out, or those that are have a price.
	pub fn is_open(&self) -> bool {
		self.value > 0 || self.shares == 0
	}

	/// What `shares` are worth, rounded down. `None` if not as many are out.
	pub fn worth(&self, shares: Balance) -> Option<Balance> {
		self.shares.checked_sub(shares)?;
		value_of(shares, self.shares, self.value)
	}

	/// Adds `amount`, and returns the shares that it buys. `None` where it is not open, or on overflow.
	pub fn add(&mut self, amount: Balance) -> Option<Balance> {
		let bought = shares_for(amount, self.shares, self.value)?;
		let value = self.value.checked_add(amount)?;
		let shares = self.shares.checked_add(bought)?;
		*self = Self { value, shares };
		Some(bought)
	}

	/// Takes `amount` out for somebody who holds `held` shares, and returns how many of them it takes:
	/// all where it is all that they are worth. `None` if they are worth less.
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

	/// Takes `shares` out, and returns what they are worth. `None` if not as many are out.
	pub fn redeem(&mut self, shares: Balance) -> Option<Balance> {
		let amount = self.worth(shares)?;
		self.shares = self.shares.checked_sub(shares)?;
		self.value = self.value.checked_sub(amount)?;
		Some(amount)
	}

	/// Slashes it at `rate`, and returns the amount taken: all of it where less than the least price of its
	/// shares would be left.
	fn slash(&mut self, rate: Perquintill) -> Balance {
		let amount = slash_at(rate, self.value);
		let taken = slash_shared(amount, self.shares, self.value);
		let Some(left) = self.value.checked_sub(taken) else {
			defensive!("a slash never takes more than there is");
			return 0;
		};
		self.value = left;
		taken
	}
}

/// A part of a pool that unbonds.
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
pub struct Leaving {
	/// What there is, and its shares.
	pub part: Shared,
	/// How often all of it was slashed. Shares of an earlier generation are worth nothing.
	#[codec(compact)]
	pub generation: u32,
}

impl Leaving {
	/// Adds `amount`, to be withdrawn from block `until`. `None` on overflow.
	pub fn add(&mut self, amount: Balance, until: BlockNumber) -> Option<Unbonding> {
		Some(Unbonding {
			shares: self.part.add(amount)?,
			generation: self.generation,
			until,
		})
	}

	/// What a piece is worth. `None` if not as many shares are out.
	pub fn worth(&self, piece: &Unbonding) -> Option<Balance> {
		if piece.generation == self.generation {
			self.part.worth(piece.shares)
		} else {
			Some(0)
		}
	}

	/// Takes a piece out, and returns what it is worth. `None` if not as many shares are out.
	pub fn redeem(&mut self, piece: &Unbonding) -> Option<Balance> {
		if piece.generation == self.generation {
			self.part.redeem(piece.shares)
		} else {
			Some(0)
		}
	}

	/// Slashes it at `rate`, and returns the amount taken. Where that is all, a new generation begins.
	fn slash(&mut self, rate: Perquintill) -> Balance {
		let taken = self.part.slash(rate);
		if !self.part.is_open() {
			self.part.shares = 0;
			// It would take more slashes of everything than there are blocks.
			self.generation = self.generation.saturating_add(1);
		}
		taken
	}
}

/// Stake on its way out.
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
	/// Shares of what is unbonding.
	#[codec(compact)]
	pub shares: Balance,
	/// The generation that they are of.
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
	/// What the owner has unbonding.
	pub own_unbonding: Leaving,
	/// The delegators' stake.
	pub delegated: Shared,
	/// What they have unbonding.
	pub unbonding: Leaving,
	/// Accounts' entries: delegations, and queues of what unbonds.
	#[codec(compact)]
	pub entries: u32,
}

impl StakePool {
	/// A pool with the owner's stake alone.
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

	/// Whether there is nothing in it and nobody has an entry.
	pub fn is_empty(&self) -> bool {
		self.own == 0 && self.entries == 0
	}

	/// The part in which what the owner, or what a delegator, has unbonding is.
	pub fn leaving(&mut self, owner: bool) -> &mut Leaving {
		if owner {
			&mut self.own_unbonding
		} else {
			&mut self.unbonding
		}
	}

	/// Slashes every part at `rate`.
	pub fn slash(&mut self, rate: Perquintill) -> Slashed {
		let own = slash_at(rate, self.own);
		// A rate takes no more than there is.
		self.own -= own;
		Slashed {
			own,
			own_unbonding: self.own_unbonding.slash(rate),
			delegated: self.delegated.slash(rate),
			unbonding: self.unbonding.slash(rate),
		}
	}

	/// Returns what a slash at `rate` would take now.
	pub fn slashed_at(mut self, rate: Perquintill) -> Result<Balance, ArithmeticError> {
		self.slash(rate).total()
	}
}

/// What a slash took, part by part.
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
	/// Of the owner's stake.
	pub own: Balance,
	/// Of what the owner had unbonding.
	pub own_unbonding: Balance,
	/// Of the delegators' stake.
	pub delegated: Balance,
	/// Of what they had unbonding.
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
