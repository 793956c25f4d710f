//! The connection to the chain through a node: reads, calls, and the reasons of failures.
//!
//! The node's metadata governs encoding and decoding, so this program works with any runtime whose calls
//! and view functions keep these names and fields. Reads are of the best block.

use crate::{
	amount::Kai,
	config::Config,
	failure::{Failure, Result},
	output::Progress,
	wallet::Wallet,
};
use codec::{Decode, DecodeAll, Encode};
use std::{fmt, sync::Arc, time::Duration};
use subxt::{
	OnlineClient,
	backend::{BlockRef, LegacyBackend},
	client::{ClientAtBlock, OnlineClientAtBlockImpl},
	config::{DefaultExtrinsicParamsBuilder, RpcConfigFor},
	dynamic::{self, Value},
	error::{BackendError, ExtrinsicError, RpcError, StorageError, TransactionProgressError},
	ext::{
		frame_decode::{
			helpers::{IntoDecodableValues, IntoEncodableValues},
			view_functions::decode_view_function_response,
		},
		scale_decode::{DecodeAsFields, DecodeAsType},
		scale_encode::EncodeAsFields,
		scale_value::ValueDef,
	},
	extrinsics::ExtrinsicEvents,
	rpcs::{self, RpcClient, methods::LegacyRpcMethods, rpc_params},
	tx::{DynamicPayload, TransactionInBlock, TransactionStatus},
};
use tokio::time::{Instant, timeout, timeout_at};

/// State after a block.
type State = ClientAtBlock<Config, OnlineClientAtBlockImpl<Config>>;
/// Transaction in a block.
type InBlock = TransactionInBlock<Config, OnlineClientAtBlockImpl<Config>>;
type Methods = LegacyRpcMethods<RpcConfigFor<Config>>;

/// Timeout of connecting, and of each answer of the node.
const NODE_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of blocks in which a signed transaction can be included.
const MORTALITY: u64 = 64;
/// Length of a view function's id in bytes.
const QUERY_ID: usize = 32;

/// A connection to a node.
pub struct Chain {
	client: OnlineClient<Config>,
	rpc: RpcClient,
	methods: Methods,
	url: String,
}

/// The chain's state after one block. Reads of one `BlockState` are consistent.
pub struct BlockState {
	state: State,
	url: String,
}

/// A call that was included in a block and succeeded.
pub struct IncludedCall {
	/// The block's number.
	pub block: u64,
	/// The block's hash.
	pub block_hash: String,
	/// The extrinsic's hash.
	pub extrinsic: String,
	/// Transaction fee.
	pub fee: Option<Kai>,
	/// Events of the call.
	events: ExtrinsicEvents<Config>,
}

/// State of a call's block to wait for, and a timeout.
#[derive(Clone, Copy, Debug)]
pub struct InclusionWait {
	/// Wait until the block is finalized, not only in the best chain.
	pub finalized: bool,
	/// Timeout.
	pub timeout: Duration,
}

impl Chain {
	/// Connects to the node at `url`.
	pub async fn connect(url: &str) -> Result<Self> {
		let cannot = |why: String| {
			Failure::unreachable(format!("cannot reach the node at {url}: {why}"))
				.advise("start a node, or name another with --url or KAISAR_URL")
		};
		let connect = async {
			let rpc = RpcClient::from_insecure_url(url).await?;
			let backend = LegacyBackend::builder().build(rpc.clone());
			let client = OnlineClient::from_backend(Arc::new(backend)).await?;
			Ok::<_, subxt::Error>((rpc, client))
		};
		let (rpc, client) = match timeout(NODE_TIMEOUT, connect).await {
			Ok(Ok(connected)) => connected,
			Ok(Err(error)) => return Err(cannot(plainly(error))),
			Err(_) => return Err(cannot(format!("no answer in {} s", NODE_TIMEOUT.as_secs()))),
		};
		Ok(Self {
			client,
			methods: LegacyRpcMethods::new(rpc.clone()),
			rpc,
			url: url.into(),
		})
	}

	/// Returns the hash of the chain's first block.
	pub fn genesis(&self) -> [u8; 32] {
		self.client.genesis_hash().0
	}

	/// Returns the state after the best block.
	pub async fn best(&self) -> Result<BlockState> {
		let best = async {
			let hash = self.methods.chain_get_block_hash(None).await?;
			let hash = hash.ok_or_else(|| subxt::Error::other_str("it has no best block"))?;
			let block = BlockRef::from_hash(hash);
			Ok::<_, subxt::Error>(self.client.at_block(block).await?)
		};
		match timeout(NODE_TIMEOUT, best).await {
			Ok(Ok(state)) => Ok(BlockState {
				state,
				url: self.url.clone(),
			}),
			Ok(Err(error)) => Err(node_failed(&self.url, error)),
			Err(_) => Err(silent(&self.url)),
		}
	}

	/// Subscribes to new best blocks.
	pub async fn blocks(&self) -> Result<Blocks<'_>> {
		match timeout(NODE_TIMEOUT, self.methods.chain_subscribe_new_heads()).await {
			Ok(Ok(heads)) => Ok(Blocks { chain: self, heads }),
			Ok(Err(error)) => Err(node_failed(&self.url, error)),
			Err(_) => Err(silent(&self.url)),
		}
	}

	/// Returns the encoded address record that the agent with this key signed, if the node has one.
	pub async fn agent_address(&self, agent: [u8; 32]) -> Result<Option<Vec<u8>>> {
		let asked: Result<Result<Option<String>, rpcs::Error>, _> = timeout(
			NODE_TIMEOUT,
			self.rpc.request(
				"kaisar_agentAddress",
				rpc_params![format!("0x{}", hex::encode(agent))],
			),
		)
		.await;
		let answer = match asked {
			Ok(Ok(answer)) => answer,
			Ok(Err(rpcs::Error::User(error))) => {
				return Err(Failure::unreachable(format!(
					"the node at {} does not serve addresses of agents: {error}",
					self.url
				))
				.advise("name another node with --url or KAISAR_URL"));
			}
			Ok(Err(error)) => return Err(node_failed(&self.url, error)),
			Err(_) => return Err(silent(&self.url)),
		};
		let Some(text) = answer else {
			return Ok(None);
		};
		hex::decode(text.strip_prefix("0x").unwrap_or(&text))
			.map(Some)
			.map_err(|_| node_failed(&self.url, "the agent's address record is not hexadecimal"))
	}

	/// Signs a call, submits it, and waits until it was included and succeeded.
	pub async fn submit<Data: EncodeAsFields>(
		&self,
		wallet: &Wallet,
		call: &DynamicPayload<Data>,
		wait: InclusionWait,
	) -> Result<IncludedCall> {
		let name = format!("{}.{}", call.pallet_name(), call.call_name());
		let mut progress = Progress::spinner(format!("submitting {name}"));
		let deadline = Instant::now() + wait.timeout;
		let at = self.best().await?;
		let last = at.state.block_number() + MORTALITY;
		let late = |what: &str| {
			Failure::over(format!(
				"{name} was {what} within {} s",
				wait.timeout.as_secs()
			))
			.advise(format!(
				"it may still be included up to block {last}: check after that block before you send it again, or give \
				 a longer --timeout"
			))
		};

		let account = wallet.account();
		let submit = async {
			let nonce = self.methods.system_account_next_index(&account).await;
			let nonce = nonce.map_err(|error| node_failed(&self.url, error))?;
			let parameters = DefaultExtrinsicParamsBuilder::new()
				.nonce(nonce)
				.mortal(MORTALITY)
				.build();
			let mut transactions = at.state.transactions();
			let signed = transactions
				.create_signed(call, wallet, parameters)
				.await
				.map_err(|error| self.of_extrinsic(&name, &error))?;
			let watch = signed.submit_and_watch().await;
			watch.map_err(|error| self.of_extrinsic(&name, &error))
		};
		let mut watch = timeout_at(deadline, submit)
			.await
			.map_err(|_| late("not accepted"))??;

		progress.say(format!("{name} is in the node's pool"));
		loop {
			let status = timeout_at(deadline, watch.next())
				.await
				.map_err(|_| late("not included"))?
				.ok_or_else(|| node_failed(&self.url, "it stopped reporting the call's status"))?
				.map_err(|error| self.of_progress(&name, error))?;
			let block = match status {
				TransactionStatus::InBestBlock(block) if !wait.finalized => block,
				TransactionStatus::InFinalizedBlock(block) => block,
				TransactionStatus::InBestBlock(_) => {
					progress.say(format!("{name} is included, but not finalized yet"));
					continue;
				}
				TransactionStatus::Error { message }
				| TransactionStatus::Invalid { message }
				| TransactionStatus::Dropped { message } => {
					return Err(Failure::refused(name, message));
				}
				_ => continue,
			};
			return timeout_at(deadline, self.outcome(&block))
				.await
				.map_err(|_| late("not read back"))?;
		}
	}

	/// Reads a call's outcome from its block.
	async fn outcome(&self, block: &InBlock) -> Result<IncludedCall> {
		let state = block
			.at()
			.await
			.map_err(|error| node_failed(&self.url, error))?;
		let events = block.fetch_events().await;
		let at = BlockState {
			url: self.url.clone(),
			state,
		};
		let mut done = IncludedCall {
			block: at.state.block_number(),
			block_hash: format!("{:?}", block.block_hash()),
			extrinsic: format!("{:?}", block.extrinsic_hash()),
			fee: None,
			events: events.map_err(|error| node_failed(&self.url, error))?,
		};

		#[derive(DecodeAsType)]
		#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
		struct Failed {
			dispatch_error: Refusal,
		}
		if let Some(failed) = done.event::<Failed>("System", "ExtrinsicFailed")? {
			return Err(at.named(&failed.dispatch_error));
		}
		#[derive(DecodeAsType)]
		#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
		struct FeePaid {
			actual_fee: Kai,
		}
		let paid = done.event::<FeePaid>("TransactionPayment", "TransactionFeePaid")?;
		done.fee = paid.map(|paid| paid.actual_fee);
		Ok(done)
	}

	fn of_extrinsic(&self, name: &str, error: &ExtrinsicError) -> Failure {
		match error {
			ExtrinsicError::ErrorSubmittingTransaction(BackendError::Rpc(
				RpcError::ClientError(rpcs::Error::User(error)),
			)) => {
				// The pool's reason is in the data, if there is any.
				let why = error
					.data
					.as_ref()
					.and_then(|data| serde_json::from_str::<String>(data.get()).ok())
					.unwrap_or_else(|| error.message.clone());
				of_pool(name, &why)
			}
			ExtrinsicError::EncodeError(_)
			| ExtrinsicError::PalletNameNotFound(_)
			| ExtrinsicError::CallNameNotFound { .. } => unknown(name, error),
			error => node_failed(&self.url, error),
		}
	}

	fn of_progress(&self, name: &str, error: TransactionProgressError) -> Failure {
		match error {
			TransactionProgressError::TransactionStatusError(error) => {
				Failure::refused(name, error)
			}
			error => node_failed(&self.url, error),
		}
	}
}

/// A subscription to best blocks.
pub struct Blocks<'chain> {
	chain: &'chain Chain,
	heads: rpcs::client::RpcSubscription<<Config as subxt::Config>::Header>,
}

impl Blocks<'_> {
	/// Waits for the next best block and returns the state after it.
	pub async fn next(&mut self) -> Result<BlockState> {
		match self.heads.next().await {
			Some(Ok(_)) => self.chain.best().await,
			Some(Err(error)) => Err(node_failed(&self.chain.url, error)),
			None => Err(node_failed(&self.chain.url, "the connection ended")),
		}
	}
}

impl BlockState {
	/// Returns the block's number.
	pub fn number(&self) -> u32 {
		u32::try_from(self.state.block_number()).unwrap_or(u32::MAX)
	}

	/// Calls a view function.
	///
	/// The runtime API wraps arguments and answer in length-prefixed bytes, and the answer can be a dispatch
	/// error. subxt 0.51 handles neither, so it is used only to find the function and its types.
	pub async fn view<Answer: DecodeAsType>(
		&self,
		pallet: &str,
		function: &str,
		arguments: impl IntoEncodableValues,
	) -> Result<Answer> {
		let name = format!("{pallet}.{function}");
		let call = dynamic::view_function_call::<_, Answer>(pallet, function, arguments);
		let views = self.state.view_functions();
		let query = views
			.encode_args(call)
			.map_err(|error| unknown(&name, error))?;
		let (id, arguments) = query
			.split_at_checked(QUERY_ID)
			.ok_or_else(|| unknown(&name, "it has no id"))?;
		let query = [id, &arguments.encode()].concat();
		let answer = match timeout(NODE_TIMEOUT, views.call_raw(Some(&query))).await {
			Ok(Ok(answer)) => answer,
			Ok(Err(error)) => return Err(node_failed(&self.url, error)),
			Err(_) => return Err(silent(&self.url)),
		};
		let answer = Result::<Vec<u8>, ViewFunctionDispatchError>::decode_all(&mut &answer[..])
			.map_err(|error| unknown(&name, error))?
			.map_err(|error| unknown(&name, format!("{error:?}")))?;
		let metadata = self.state.metadata_ref();
		decode_view_function_response(
			pallet,
			function,
			&mut &answer[..],
			metadata,
			metadata.types(),
			Answer::into_visitor(),
		)
		.map_err(|error| unknown(&name, error))
	}

	/// Calls a view function that can fail with a dispatch error, as a call can.
	pub async fn try_view<Answer: DecodeAsType>(
		&self,
		pallet: &str,
		function: &str,
		arguments: impl IntoEncodableValues,
	) -> Result<Answer> {
		let answer: Result<Answer, Refusal> = self.view(pallet, function, arguments).await?;
		answer.map_err(|refusal| self.named(&refusal))
	}

	/// Converts a refusal into a failure with its name and its pallet's documentation.
	fn named(&self, refusal: &Refusal) -> Failure {
		let inner = |kind: &str, error: &Value| match &error.value {
			ValueDef::Variant(error) => format!("{kind}.{}", error.name),
			_ => kind.to_owned(),
		};
		match refusal {
			Refusal::Module(module) => {
				let metadata = self.state.metadata_ref();
				let found = metadata
					.pallet_by_error_index(module.index)
					.and_then(|pallet| {
						let error = pallet.error_variant_by_index(module.error[0])?;
						Some(of_module(pallet.name(), &error.name, &error.docs))
					});
				found.unwrap_or_else(|| Failure::refused("Module", format!("{module:?}")))
			}
			Refusal::Token(error) => Failure::refused(
				inner("Token", error),
				"the account's free balance is too low for this call",
			)
			.advise("`kaisar status` shows the balance"),
			Refusal::Arithmetic(error) => {
				Failure::refused(inner("Arithmetic", error), "the amount overflows")
					.advise("give a smaller amount")
			}
			Refusal::Transactional(error) | Refusal::Trie(error) => Failure::refused(
				inner("Internal", error),
				"the chain could not execute the call",
			)
			.advise("try again; if it fails again, report a bug"),
			Refusal::BadOrigin | Refusal::RootNotAllowed => {
				Failure::refused("BadOrigin", "this account is not allowed to make this call")
					.advise("use the account that the call belongs to, with --wallet")
			}
			other => Failure::refused(format!("{other:?}"), "the chain refused the call"),
		}
	}

	/// Reads an item of storage, if it exists.
	pub async fn storage<Item: DecodeAsType, Keys>(
		&self,
		pallet: &str,
		entry: &str,
		keys: Keys,
	) -> Result<Option<Item>>
	where
		Keys: IntoEncodableValues + IntoDecodableValues,
	{
		let name = format!("{pallet}.{entry}");
		let address = dynamic::storage::<Keys, Item>(pallet, entry);
		let storage = self.state.storage();
		let fetched = match timeout(NODE_TIMEOUT, storage.try_fetch(address, keys)).await {
			Ok(Ok(fetched)) => fetched,
			Ok(Err(StorageError::CannotFetchValue(error))) => {
				return Err(node_failed(&self.url, error));
			}
			Ok(Err(error)) => return Err(unknown(&name, error)),
			Err(_) => return Err(silent(&self.url)),
		};
		fetched
			.map(|value| value.decode().map_err(|error| unknown(&name, error)))
			.transpose()
	}
}

impl IncludedCall {
	/// Returns the fields of the events of this name that the call deposited, in their order.
	pub fn events<Fields: DecodeAsFields>(&self, pallet: &str, name: &str) -> Result<Vec<Fields>> {
		let whole = format!("{pallet}.{name}");
		let mut found = Vec::new();
		for event in self.events.iter() {
			let event = event.map_err(|error| unknown(&whole, error))?;
			let named = event.pallet_name() == pallet && event.event_name() == name;
			if named {
				let fields = event.decode_fields_unchecked_as();
				found.push(fields.map_err(|error| unknown(&whole, error))?);
			}
		}
		Ok(found)
	}

	/// Returns the fields of the first event of this name.
	pub fn event<Fields: DecodeAsFields>(
		&self,
		pallet: &str,
		name: &str,
	) -> Result<Option<Fields>> {
		Ok(self.events(pallet, name)?.into_iter().next())
	}

	/// Returns the fields of an event that every successful call deposits.
	pub fn expect_event<Fields: DecodeAsFields>(&self, pallet: &str, name: &str) -> Result<Fields> {
		self.event(pallet, name)?
			.ok_or_else(|| unknown(&format!("{pallet}.{name}"), "the event is missing"))
	}
}

/// Reports a node that disconnected or gave an invalid answer.
fn node_failed(url: &str, why: impl fmt::Display) -> Failure {
	let why = plainly(why);
	Failure::unreachable(format!("the node at {url} failed to answer: {why}"))
		.advise("check the node, or name another with --url or KAISAR_URL")
}

/// Returns an error's message without the layers that it passed through.
fn plainly(error: impl fmt::Display) -> String {
	const LAYERS: [&str; 6] = [
		"Other RPC client error: ",
		"Backend error: ",
		"RPC error: ",
		"User error: ",
		"client error: ",
		"Client error: ",
	];
	let text = error.to_string();
	let mut rest = text.as_str();
	while let Some(inner) = LAYERS.iter().find_map(|layer| rest.strip_prefix(layer)) {
		rest = inner;
	}
	rest.into()
}

/// Reports a node that does not answer in time.
fn silent(url: &str) -> Failure {
	node_failed(url, format!("no answer in {} s", NODE_TIMEOUT.as_secs()))
}

/// Reports a call, view function, event or type that the chain does not have, or has in another form.
fn unknown(name: &str, why: impl fmt::Display) -> Failure {
	Failure::unreachable(format!(
		"the chain's {name} does not match this program: {why}"
	))
	.advise("use a kaisar of the node's version")
}

/// Reports a transaction that the node's pool refused.
fn of_pool(name: &str, why: &str) -> Failure {
	let failure = Failure::refused(name, why);
	if why.contains("pay some fees") {
		failure.advise("the balance does not cover the transaction fee; top up the account")
	} else {
		failure
	}
}

/// Reason why a view function was not called, with the layout of the chain's type.
#[derive(Debug, Decode)]
enum ViewFunctionDispatchError {
	NotImplemented,
	/// The function's id, shown by `Debug` only.
	NotFound(#[allow(dead_code)] [u8; QUERY_ID]),
	Codec,
}

/// Dispatch error of a call or a view function, with the layout of the chain's type.
#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
enum Refusal {
	Other,
	CannotLookup,
	BadOrigin,
	Module(ModuleError),
	ConsumerRemaining,
	NoProviders,
	TooManyConsumers,
	Token(Value),
	Arithmetic(Value),
	Transactional(Value),
	Exhausted,
	Corruption,
	Unavailable,
	RootNotAllowed,
	Trie(Value),
}

/// Error of a pallet.
#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct ModuleError {
	/// Index of the pallet.
	index: u8,
	/// Index of the error, and its encoded fields.
	error: [u8; 4],
}

/// Converts an error of a pallet, with advice on those that users meet.
fn of_module(pallet: &str, error: &str, docs: &[String]) -> Failure {
	let name = format!("{pallet}.{error}");
	let advice = match name.as_str() {
		"Orders.PriceAboveLimit" => "the price moved; see `kaisar quote`, or raise --max-price",
		"Orders.PriceBelowFloor" => {
			"the price fell below its worker's floor; try later, or place a new order"
		}
		"Orders.TooFewHours" => "month is at least 720 hours, quarter 2,160",
		"Orders.NoPrice" => "`kaisar classes` lists the classes; not all of them have a price",
		"Orders.InsufficientCredits" => "`kaisar status` shows the account's credits",
		"Providers.StakeBelowMinimum" => {
			"`kaisar status WORKER` shows the minimum; `kaisar register` stakes it by default"
		}
		"Providers.BadProof" => "the keys must be those of the node and the agent of this worker",
		_ => "",
	};
	let failure = Failure::refused(name, docs.join(" ").trim());
	if advice.is_empty() {
		failure
	} else {
		failure.advise(advice)
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn an_error_is_shown_without_its_layers() {
		assert_eq!(
			plainly(
				"Other RPC client error: RPC error: client error: RPC error: Connection refused"
			),
			"Connection refused"
		);
		assert_eq!(plainly("Token error: none"), "Token error: none");
	}

	#[test]
	fn the_pools_reason_is_a_refusal() {
		let failure = of_pool(
			"Orders.place_order",
			"Inability to pay some fees (e.g. low)",
		);
		assert!(failure.advice.is_some());
		assert!(of_pool("Orders.place_order", "Stale").advice.is_none());
	}

	#[test]
	fn an_error_of_a_pallet_has_its_docs_and_advice() {
		let docs = [
			"The price exceeds".to_owned(),
			" the order's limit.".to_owned(),
		];
		let failure = of_module("Orders", "PriceAboveLimit", &docs);
		assert_eq!(failure.name.as_deref(), Some("Orders.PriceAboveLimit"));
		assert!(
			failure
				.advice
				.is_some_and(|advice| advice.contains("--max-price"))
		);
		assert_eq!(of_module("Orders", "Inconsistent", &docs).advice, None);
	}
}
