//! Commands of customers: quotes and orders.

use super::{Context, kai, templates};
use crate::{
	amount::{Kai, Share},
	args::{self, Machine, Term},
	chain::{BlockState, Chain},
	classes,
	failure::{Failure, Result},
	output::{self, Align, Facts, Progress, table, when},
	types::{CloseReason, Image, Issue, Key, Money, Order, OrderState, Plan, Requirement},
	views,
	wallet::{self, Wallet},
	workload,
};
use serde_json::json;
use subxt::{dynamic, utils::AccountId32};
use tokio::time::{Instant, timeout_at};

/// Margin above the quote where no limit is given, since the price moves with the class's utilization.
const SLACK: Share = Share(50_000_000);

/// Shows the price of a machine.
pub async fn quote(context: &Context, machine: &Machine, term: Term) -> Result<()> {
	let requirement = machine.requirement();
	let at = context.chain().await?.best().await?;
	let quote = views::quote(&at, requirement, term.hours(), term.plan).await?;
	let idle = views::idle_workers(&at, &requirement).await?;
	let document = json!({
		"requirement": requirement,
		"plan": term.plan,
		"hours": term.hours(),
		"unit_price": quote.prices.of(term.plan),
		"units": quote.units,
		"total": quote.total,
		"prices": quote.prices,
		"idle_workers": idle,
	});
	context.output.show(&document, || {
		let unit = if requirement.gpu_class == 0 {
			"core"
		} else {
			"GPU"
		};
		let unit_price = quote.prices.of(term.plan);
		Facts::default()
			.add("Machine", describe(requirement))
			.add("Plan", term.plan)
			.add("Price", format!("{unit_price} KAI per {unit}-hour"))
			.add(
				"Total",
				format!(
					"{} for {}",
					kai(quote.total),
					time_of(term.hours(), quote.units, unit)
				),
			)
			.add(
				"Idle machines",
				match requirement.gpu_class {
					0 => format!("{idle} of this CPU tier in this region"),
					_ => format!("{idle} with these GPUs in this region, of any tier"),
				},
			)
			.text()
	})
}

/// Places an order.
pub async fn order(context: &Context, args: &args::Order) -> Result<()> {
	let requirement = args.machine.requirement();
	let term = args.term;
	let workload = args.container.workload(args.image.clone(), term.hours())?;
	let chain = context.chain().await?;
	let at = chain.best().await?;
	if let Image::Template(id) = workload.image {
		let template = views::template(&at, id).await?;
		let template = template.ok_or_else(|| templates::unknown(id))?;
		workload::check(&workload, Some(&template))?;
	}
	let quote = views::quote(&at, requirement, term.hours(), term.plan).await?;
	let limit = limit(args.max_price, quote.total)?;
	if limit < quote.total {
		return Err(Failure::refused(
			"Orders.PriceAboveLimit",
			format!(
				"the price is {}, above the limit of {}",
				kai(quote.total),
				kai(limit)
			),
		)
		.advise("raise --max-price, or compare machines with `kaisar quote`"));
	}
	let wallet = context.wallet()?;
	let credits = match args.credits {
		Some(credits) => credits,
		// The chain uses only as many credits as the order costs.
		None => views::credits(&at, wallet.account()).await?,
	};
	let secret = match &args.client_key {
		Some(path) => wallet::read_or_make_client_secret(path)?,
		None => wallet.client_secret(),
	};
	let call = dynamic::transaction(
		"Orders",
		"place_order",
		(
			requirement,
			workload.clone(),
			term.hours(),
			term.plan,
			limit,
			credits,
			Key(wallet::client_key(&secret).0),
		),
	);
	let done = context.submit(&chain, &wallet, &call).await?;
	let Placed { order } = done.expect_event("Orders", "OrderPlaced")?;
	if args.wait {
		let placed = wait(context, &chain, order)
			.await
			.map_err(|failure| failure.of_order(order))?;
		let now = chain.best().await?.number();
		return context.output.show(&placed, || facts(&placed, now));
	}
	context.done(
		&done,
		json!({
			"order": order,
			"workload": workload,
			"quoted": quote.total,
			"credits": credits,
			"max_price": limit,
		}),
		&format!(
			"order {order} is placed, for about {}; `kaisar orders {order}` shows its progress",
			kai(quote.total)
		),
	)
}

/// Waits until an order's container runs.
async fn wait(context: &Context, chain: &Chain, order: u32) -> Result<Order> {
	let limit = context.common.wait_timeout();
	let deadline = Instant::now() + limit;
	let late = |state: Option<OrderState>| {
		let state = state.map_or_else(|| "not in the best chain".into(), OrderState::text);
		Failure::over(format!(
			"order {order} is still {state} after {} s",
			limit.as_secs()
		))
		.advise(format!(
			"the order continues; `kaisar orders {order}` shows its progress, --timeout waits longer"
		))
	};
	let mut progress = Progress::start(context.output, format!("order {order} is placed"));
	let mut blocks = chain.blocks().await?;
	let mut at = chain.best().await?;
	let mut state = None;
	loop {
		// After a reorganization the order can be missing from the best chain for some blocks.
		if let Some(found) = views::order(&at, order).await? {
			state = Some(found.order.state);
			progress.say(progress_text(&found, at.number()));
			match found.order.state {
				OrderState::Matching | OrderState::Deploying => (),
				OrderState::Active => return Ok(found),
				OrderState::Closing | OrderState::Closed { .. } => return Err(order_over(&found)),
			}
		}
		at = timeout_at(deadline, blocks.next())
			.await
			.map_err(|_| late(state))??;
	}
}

/// Describes the step that an order is waiting for.
fn progress_text(order: &Order, now: u32) -> String {
	let id = order.id;
	match (order.order.state, order.order.worker) {
		(OrderState::Matching, _) => format!("order {id}: Matching, waiting for a worker"),
		(OrderState::Deploying, Some(worker)) => format!(
			"order {id}: Deploying on worker {worker}, due by {}",
			when(order.order.deploy_by, now)
		),
		(state, _) => format!("order {id}: {}", state.text()),
	}
}

/// Reports an ended order to a command that waited for it.
pub fn order_over(order: &Order) -> Failure {
	let id = order.id;
	match order.order.state {
		OrderState::Closed { reason } => {
			let failure = Failure::over(format!("order {id} is closed: {}", reason.meaning()))
				.named(format!("{reason:?}"));
			match reason {
				CloseReason::NoSuitableWorker => failure.advise(
					"`kaisar quote` shows the number of idle machines; lower the requirements, or order again \
					 later",
				),
				CloseReason::ImageFailed => failure.advise(
					"check the image's name and arguments, that its container keeps running, and that it answers on \
					 its first port (--port); --deploy-minutes gives it more time",
				),
				CloseReason::Exited => {
					failure.advise("order an image whose main process does not end by itself")
				}
				_ => failure.advise("`kaisar order` places a new one"),
			}
		}
		_ => Failure::over(format!("the paid time of order {id} is over"))
			.named("Closing")
			.advise("`kaisar order` places a new one"),
	}
}

/// Lists an account's orders, the newest first.
pub async fn list(context: &Context, account: Option<AccountId32>, all: bool) -> Result<()> {
	let account = match account {
		Some(account) => account,
		None => Wallet::account_of(&context.common.wallet)?,
	};
	let at = context.chain().await?.best().await?;
	let mut orders = views::orders_of(&at, account).await?;
	if !all {
		orders.retain(|order| !matches!(order.order.state, OrderState::Closed { .. }));
	}
	orders.sort_by_key(|order| std::cmp::Reverse(order.id));
	let now = at.number();
	context.output.show(&orders, || {
		if orders.is_empty() {
			return if all {
				"no orders".into()
			} else {
				"no open orders; --all lists closed ones too".into()
			};
		}
		let rows: Vec<Vec<String>> = orders
			.iter()
			.map(|found| {
				let order = &found.order;
				vec![
					found.id.to_string(),
					order.state.text(),
					order
						.worker
						.map_or_else(String::new, |worker| worker.to_string()),
					classes::gpus(order.requirement.gpu_class, order.requirement.gpu_count),
					image(found),
					found
						.workload
						.as_ref()
						.map_or_else(String::new, |workload| templates::ports(&workload.run)),
					ends(found, now),
					order.ledger.charged.to_string(),
				]
			})
			.collect();
		table(
			&[
				("ORDER", Align::Right),
				("STATE", Align::Left),
				("WORKER", Align::Right),
				("MACHINE", Align::Left),
				("IMAGE", Align::Left),
				("PORTS", Align::Left),
				("LEFT", Align::Right),
				("CHARGED KAI", Align::Right),
			],
			&rows,
		)
	})
}

/// Shows an order.
pub async fn show(context: &Context, order: u32) -> Result<()> {
	let at = context.chain().await?.best().await?;
	let found = find(&at, order).await?;
	context.output.show(&found, || facts(&found, at.number()))
}

/// Extends an order.
pub async fn extend(
	context: &Context,
	order: u32,
	hours: u32,
	max_price: Option<Kai>,
) -> Result<()> {
	let chain = context.chain().await?;
	let at = chain.best().await?;
	let found = find(&at, order).await?.order;
	let quote = views::quote(&at, found.requirement, 1, Plan::OnDemand).await?;
	let total = quote
		.prices
		.of(found.plan)
		.0
		.checked_mul(quote.units.into())
		.and_then(|price| price.checked_mul(hours.into()))
		.map(Kai)
		.ok_or_else(|| {
			Failure::usage(format!("the price of {hours} hours overflows"))
				.advise("give fewer --hours")
		})?;
	let limit = limit(max_price, total)?;
	let call = dynamic::transaction("Orders", "extend_order", (order, hours, limit));
	let wallet = context.wallet()?;
	let done = context.submit(&chain, &wallet, &call).await?;
	let after = find(&chain.best().await?, order).await?;
	context.done(
		&done,
		json!({ "order": after }),
		&format!(
			"order {order} is extended by {hours} h, for about {}; it ends at {}",
			kai(total),
			when(after.order.ends_at, chain.best().await?.number())
		),
	)
}

/// Cancels an order.
pub async fn cancel(context: &Context, order: u32) -> Result<()> {
	let call = dynamic::transaction("Orders", "cancel_order", (order,));
	act(context, order, &call, "is canceled").await
}

/// Reports an issue.
pub async fn report(context: &Context, order: u32, reason: Issue) -> Result<()> {
	let call = dynamic::transaction("Orders", "report_issue", (order, reason));
	act(
		context,
		order,
		&call,
		"is reported, and its worker will be checked",
	)
	.await
}

/// Closes an order.
pub async fn close(context: &Context, order: u32) -> Result<()> {
	let call = dynamic::transaction("Orders", "close_order", (order,));
	act(context, order, &call, "is processed").await
}

/// Submits a call about an order and shows the order afterwards.
async fn act<Data: subxt::ext::scale_encode::EncodeAsFields>(
	context: &Context,
	order: u32,
	call: &subxt::tx::DynamicPayload<Data>,
	what: &str,
) -> Result<()> {
	let wallet = context.wallet()?;
	let chain = context.chain().await?;
	find(&chain.best().await?, order).await?;
	let done = context.submit(&chain, &wallet, call).await?;
	let at = chain.best().await?;
	let after = views::order(&at, order).await?;
	let text = match &after {
		Some(after) => format!("order {order} {what}\n{}", facts(after, at.number())),
		None => format!("order {order} {what}"),
	};
	context.done(&done, json!({ "order": after }), &text)
}

/// Returns the given limit, by default the price plus [`SLACK`].
fn limit(given: Option<Kai>, price: Kai) -> Result<Kai> {
	let with_slack = || Some(Kai(price.0.checked_add(SLACK.of_up(price)?.0)?));
	given.or_else(with_slack).ok_or_else(|| {
		Failure::usage(format!("the price plus {SLACK} overflows")).advise("give --max-price")
	})
}

/// Returns an order, or fails if the chain does not have it.
pub async fn find(at: &BlockState, order: u32) -> Result<Order> {
	views::order(at, order).await?.ok_or_else(|| {
		Failure::not_found(format!("order {order} does not exist"))
			.advise("`kaisar orders --all` lists yours; the chain keeps closed orders for a week")
	})
}

/// Describes a requirement in one line.
fn describe(requirement: Requirement) -> String {
	let mut text = classes::gpus(requirement.gpu_class, requirement.gpu_count);
	for (name, tier) in [
		("bandwidth", requirement.min_bandwidth),
		("CPU", requirement.min_cpu),
		("memory", requirement.min_memory),
		("disk", requirement.min_disk),
	] {
		if tier > 0 {
			text += &format!(", {name} {tier}");
		}
	}
	if let Some(region) = requirement.region {
		text += &format!(", in {region}");
	}
	if let Some(arch) = requirement.arch {
		text += &format!(", {arch}");
	}
	if let Some(driver) = requirement.min_driver {
		text += &format!(", driver {driver}");
	}
	if let Some(cuda) = requirement.min_cuda {
		text += &format!(", CUDA {cuda}");
	}
	text
}

/// `24 h of 2 GPUs`.
fn time_of(hours: u32, units: u32, unit: &str) -> String {
	format!("{hours} h of {}", super::counted(units as usize, unit))
}

/// Describes the image that an order runs.
pub fn image(order: &Order) -> String {
	let Some(workload) = &order.workload else {
		return String::new();
	};
	let text = workload.run.image.to_string();
	match workload.template {
		Some(template) => format!("{text} (template {template})"),
		None => text,
	}
}

/// Formats the remaining time of an active order.
fn ends(order: &Order, now: u32) -> String {
	match order.order.state {
		OrderState::Active => output::time(order.order.ends_at.saturating_sub(now)),
		_ => String::new(),
	}
}

/// Formats all facts about an order.
fn facts(found: &Order, now: u32) -> String {
	let order = &found.order;
	let ledger = &order.ledger;
	let began = matches!(
		order.state,
		OrderState::Active | OrderState::Closing | OrderState::Closed { .. }
	) && order.started_at > 0;
	let some = |amount: Kai| (amount.0 > 0).then(|| kai(amount));
	let both = |money: Money| (money.kai.0 > 0 || money.credits.0 > 0).then(|| money.text());
	let deadline = matches!(order.state, OrderState::Deploying);
	let closed = matches!(order.state, OrderState::Closed { .. });
	let meaning = match order.state {
		OrderState::Closed { reason } => Some(reason.meaning()),
		_ => None,
	};
	let mut facts = Facts::default()
		.add("Order", found.id)
		.add("State", order.state.text())
		.maybe("", meaning)
		.add("Customer", order.customer);
	if let Some(workload) = &found.workload {
		facts = templates::describe(facts.add("Image", image(found)), &workload.run);
	}
	facts
		.add("Machine", describe(order.requirement))
		.maybe("Worker", order.worker)
		.add("Plan", format!("{}, {} h", order.plan, found.hours))
		.add("Placed at", when(order.placed_at, now))
		.maybe("Deploy by", deadline.then(|| when(order.deploy_by, now)))
		.maybe("Started at", began.then(|| when(order.started_at, now)))
		.maybe("Ends at", began.then(|| when(order.ends_at, now)))
		.maybe("Closed at", closed.then(|| when(order.closed_at, now)))
		.maybe("Proved", began.then(|| output::time(order.proved)))
		.add("Charged", kai(ledger.charged))
		.maybe("In escrow", both(ledger.escrow))
		.maybe("Paid", some(ledger.paid))
		.maybe("Protocol fee", some(ledger.fees))
		.maybe("Set-up", some(ledger.setup))
		.maybe("Refunded", both(ledger.refunded))
		.maybe("Credited", some(ledger.credited))
		.maybe(
			"Issue",
			order.issue.map(|issue| {
				format!(
					"{:?}, reported at {}, bond {}",
					issue.reason,
					when(issue.reported_at, now),
					kai(issue.bond)
				)
			}),
		)
		.maybe(
			"Client key",
			found.workload.as_ref().map(|workload| workload.client_key),
		)
		.text()
}

/// The field of the event `OrderPlaced` that this program uses.
#[derive(subxt::ext::scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Placed {
	order: u32,
}
