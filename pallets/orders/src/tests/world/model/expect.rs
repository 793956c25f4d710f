//! The outcome that is expected of a call.

use super::{
	state::{Both, ratio, units, whole},
	*,
};
use kaisar_primitives::{Plan, Requirement};
use num_bigint::BigInt;
use num_rational::BigRational;
use sp_runtime::{ArithmeticError, DispatchError};

/// Prices, and the outcome that a call must have.
impl Model {
	/// Returns the prices of a unit and hour with each plan.
	pub fn prices(&self, class: GpuClass) -> Option<[Balance; 3]> {
		let of = |state| {
			workers()
				.filter(|(_, record)| {
					let verified = record.profile.map_or(0, |profile| profile.gpu_class);
					record.state() == state && verified == class
				})
				.count() as u32
		};
		let (idle, rented) = (of(WorkerState::Online), of(WorkerState::Rented));
		let utilization = ratio(rented, (idle + rented).max(1));
		let entry = self.book.get(&class)?;
		let price = |exact: BigRational| whole(exact.ceil());
		if self.contingency {
			let Cost { cost, multiplier } = entry.cost?;
			let multiplier = BigRational::new(
				multiplier.into_inner().into(),
				BigInt::from(1_000_000_000_000_000_000u64),
			);
			let one = ratio(1, 1);
			let all =
				price((one + utilization) * BigRational::from(BigInt::from(cost)) * multiplier)?;
			return Some([all; 3]);
		}
		let base = BigRational::from(BigInt::from(entry.reference?))
			* (ratio(75, 100) + ratio(20, 100) * &utilization * &utilization);
		Some([
			price(base.clone())?,
			price(&base * ratio(90, 100))?,
			price(&base * ratio(80, 100))?,
		])
	}

	/// Returns the current price of a number of hours.
	pub(super) fn quote(
		&self,
		requirement: &Requirement,
		hours: u32,
		plan: Plan,
	) -> Result<([Balance; 3], Balance), DispatchError> {
		let prices = self
			.prices(requirement.gpu_class)
			.ok_or(Error::<World>::NoPrice)?;
		let total = BigInt::from(prices[plan as usize])
			* BigInt::from(units(requirement))
			* BigInt::from(hours);
		let total = Balance::try_from(total)
			.map_err(|_| DispatchError::Arithmetic(ArithmeticError::Overflow))?;
		Ok((prices, total))
	}

	pub(super) fn quote_placing(
		&self,
		who: AccountId,
		placing: &Placing,
	) -> Result<([Balance; 3], Both), DispatchError> {
		let Placing {
			requirement,
			hours,
			plan,
			max_price,
			credits,
			deploy_blocks,
		} = placing;
		if !matches!(deploy_blocks, 0 | 75..=600) {
			return Err(Error::<World>::InvalidWorkload.into());
		}
		let Requirement {
			gpu_class,
			gpu_count,
			min_bandwidth,
			min_cpu,
			min_memory,
			min_disk,
			region,
			..
		} = requirement;
		let tiers = [min_bandwidth, min_cpu, min_memory, min_disk];
		if (*gpu_class > 0) != (*gpu_count > 0)
			|| tiers.into_iter().any(|tier| *tier > 4)
			|| (*gpu_class == 0 && *min_cpu == 0)
			|| region.is_some_and(|code| !code.iter().all(u8::is_ascii_uppercase))
		{
			return Err(Error::<World>::InvalidRequirement.into());
		}
		let least = match plan {
			Plan::OnDemand => 1,
			Plan::Month => 30 * 24,
			Plan::Quarter => 90 * 24,
		};
		if *hours < least {
			return Err(Error::<World>::TooFewHours.into());
		}
		if *hours > 8_760 {
			return Err(Error::<World>::TooManyHours.into());
		}
		if u32::from(*deploy_blocks) > hours * HOURS {
			return Err(Error::<World>::InvalidWorkload.into());
		}
		let (prices, total) = self.quote(requirement, *hours, *plan)?;
		if total > *max_price {
			return Err(Error::<World>::PriceAboveLimit.into());
		}
		let credits = (*credits).min(total);
		if credits > self.credits_of(who) {
			return Err(Error::<World>::InsufficientCredits.into());
		}
		let kai = total - credits;
		Ok((prices, Both { kai, credits }))
	}

	fn can_hold(who: AccountId, reason: HoldReason, amount: Balance) -> bool {
		use frame_support::traits::fungible::InspectHold;
		amount == 0 || Balances::can_hold(&reason.into(), &who, amount)
	}

	/// Returns whether a call has to succeed; `None` where an ended check may decide that.
	pub fn expects(&self, who: AccountId, act: &Act) -> Option<bool> {
		if let Act::Place(placing) = act {
			let funded = |charged: Both| Self::can_hold(who, HoldReason::Escrow, charged.kai);
			return Some(
				self.quote_placing(who, placing)
					.is_ok_and(|(_, charged)| funded(charged)),
			);
		}
		let Some((id, order)) = act.order().and_then(|id| Some((id, self.orders.get(&id)?))) else {
			return Some(false);
		};
		if order
			.worker
			.is_some_and(|worker| order.has_worker() && is_over(worker))
		{
			return None;
		}
		let own = who == order.customer;
		let serves = order
			.worker
			.filter(|_| order.has_worker())
			.is_some_and(|worker| record(worker).owner == who && record(worker).order == Some(id));
		let deploying = order.state == OrderState::Deploying && now() <= order.deploy_by;
		let running = order.state == OrderState::Active && now() < order.ends_at;
		Some(match *act {
			Act::Place(_) => unreachable!("an order that is placed has no number"),
			Act::Confirm(_) | Act::Fail(..) => serves && deploying,
			Act::Exit(..) => serves && order.is_served(),
			Act::Cancel(_) => {
				own && matches!(
					order.state,
					OrderState::Matching | OrderState::Deploying | OrderState::Active
				)
			}
			Act::Report(..) => {
				own && running
					&& order.report.is_none()
					&& Self::can_hold(who, HoldReason::IssueBond, BOND)
			}
			Act::Extend(_, hours, max_price) => {
				own && running
					&& hours > 0 && hours.saturating_add(order.hours()) <= 8_760
					&& order.spans.len() < 8
					&& self.quote(&order.requirement, hours, order.plan).is_ok_and(
						|(prices, total)| {
							total <= max_price
								&& prices[order.plan as usize] >= order.floor
								&& Self::can_hold(who, HoldReason::Escrow, total)
						},
					)
			}
			// The hooks of this block have done the due work.
			Act::Close(_) => return None,
		})
	}
}
