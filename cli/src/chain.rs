//! The chain, through a node: what it says, and what it is told.
//!
//! Everything is encoded and decoded by the metadata that the node gives, so this program works with
//! any runtime whose calls and view functions still have these names and fields. Reads are of the best
//! block.

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

/// The state after a block.
type State = ClientAtBlock<Config, OnlineClientAtBlockImpl<Config>>;
/// A transaction in a block.
type InBlock = TransactionInBlock<Config, OnlineClientAtBlockImpl<Config>>;
type Methods = LegacyRpcMethods<RpcConfigFor<Config>>;

/// Longest that connecting, or an answer of the node, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Blocks for which a signed transaction can be included.
const MORTALITY: u64 = 64;
/// Bytes of a view function's id.
const QUERY_ID: usize = 32;

/// A connection to a node.
pub struct Chain {
	client: OnlineClient<Config>,
	rpc: RpcClient,
	methods: Methods,
	url: String,
}

/// The chain's state after one block: what is asked of it fits together.
pub struct At {
	state: State,
	url: String,
}

/// A call that was included in a block and succeeded.
pub struct Done {
	/// The block's number.
	pub block: u64,
	/// The block's hash.
	pub block_hash: String,
	/// The extrinsic's hash.
	pub extrinsic: String,
	/// What the transaction cost.
	pub fee: Option<Kai>,
	/// Its events.
	events: ExtrinsicEvents<Config>,
}

/// How to wait for a call.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
	/// Until its block is final, not only on the best chain.
	pub finalized: bool,
	/// At most so long.
	pub limit: Duration,
}

impl Chain {
	/// Connects to the node at `url`.
	pub async fn connect(url: &str) -> Result<Self> {
		let cannot = |why: String| {
			Failure::unreachable(format!("cannot reach the node at {url}: {why}"))
				.advise("start one, or name another with --url or KAISAR_URL")
		};
		let connect = async {
			let rpc = RpcClient::from_insecure_url(url).await?;
			let backend = LegacyBackend::builder().build(rpc.clone());
			let client = OnlineClient::from_backend(Arc::new(backend)).await?;
			Ok::<_, subxt::Error>((rpc, client))
		};
		let (rpc, client) = match timeout(PATIENCE, connect).await {
			Ok(Ok(connected)) => connected,
			Ok(Err(error)) => return Err(cannot(plainly(error))),
			Err(_) => return Err(cannot(format!("no answer in {} s", PATIENCE.as_secs()))),
		};
		Ok(Self {
			client,
			methods: LegacyRpcMethods::new(rpc.clone()),
			rpc,
			url: url.into(),
		})
	}

	/// The hash of the chain's first block.
	pub fn genesis(&self) -> [u8; 32] {
		self.client.genesis_hash().0
	}

	/// The state after the best block.
	pub async fn best(&self) -> Result<At> {
		let best = async {
			let hash = self.methods.chain_get_block_hash(None).await?;
			let hash = hash.ok_or_else(|| subxt::Error::other_str("it has no best block"))?;
			let block = BlockRef::from_hash(hash);
			Ok::<_, subxt::Error>(self.client.at_block(block).await?)
		};
		match timeout(PATIENCE, best).await {
			Ok(Ok(state)) => Ok(At {
				state,
				url: self.url.clone(),
			}),
			Ok(Err(error)) => Err(lost(&self.url, error)),
			Err(_) => Err(silent(&self.url)),
		}
	}

	/// Waits for the best blocks to come, one after the other.
	pub async fn blocks(&self) -> Result<Blocks<'_>> {
		match timeout(PATIENCE, self.methods.chain_subscribe_new_heads()).await {
			Ok(Ok(heads)) => Ok(Blocks { chain: self, heads }),
			Ok(Err(error)) => Err(lost(&self.url, error)),
			Err(_) => Err(silent(&self.url)),
		}
	}

	/// Where the agent with this key says it is: its signed record, encoded.
	pub async fn agent_address(&self, agent: [u8; 32]) -> Result<Option<Vec<u8>>> {
		let asked: Result<Result<Option<String>, rpcs::Error>, _> = timeout(
			PATIENCE,
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
					"the node at {} cannot say where agents are: {error}",
					self.url
				)));
			}
			Ok(Err(error)) => return Err(lost(&self.url, error)),
			Err(_) => return Err(silent(&self.url)),
		};
		let Some(text) = answer else {
			return Ok(None);
		};
		hex::decode(text.strip_prefix("0x").unwrap_or(&text))
			.map(Some)
			.map_err(|_| lost(&self.url, "it answers with what is no address"))
	}

	/// Signs a call, submits it, and waits until it was included and succeeded.
	pub async fn submit<Data: EncodeAsFields>(
		&self,
		wallet: &Wallet,
		call: &DynamicPayload<Data>,
		patience: Patience,
	) -> Result<Done> {
		let name = format!("{}.{}", call.pallet_name(), call.call_name());
		let mut progress = Progress::spinner(format!("submitting {name}"));
		let deadline = Instant::now() + patience.limit;
		let at = self.best().await?;
		let last = at.state.block_number() + MORTALITY;
		let late = |what: &str| {
			Failure::over(format!(
				"{name} was {what} in {} s",
				patience.limit.as_secs()
			))
			.advise(format!(
				"it can be included up to block {last}; look after that before sending it again, or give a longer \
				 --timeout"
			))
		};

		let account = wallet.account();
		let submit = async {
			let nonce = self.methods.system_account_next_index(&account).await;
			let nonce = nonce.map_err(|error| lost(&self.url, error))?;
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
				.ok_or_else(|| lost(&self.url, "it does not say what became of the call"))?
				.map_err(|error| self.of_progress(&name, error))?;
			let block = match status {
				TransactionStatus::InBestBlock(block) if !patience.finalized => block,
				TransactionStatus::InFinalizedBlock(block) => block,
				TransactionStatus::InBestBlock(_) => {
					progress.say(format!("{name} is included, and not final yet"));
					continue;
				}
				TransactionStatus::Error { message }
				| TransactionStatus::Invalid { message }
				| TransactionStatus::Dropped { message } => {
					return Err(Failure::refused(name, message));
				}
				_ => continue,
			};
			return timeout_at(deadline, self.done(&block))
				.await
				.map_err(|_| late("not read back"))?;
		}
	}

	/// Reads what a call did from the block that it is in.
	async fn done(&self, block: &InBlock) -> Result<Done> {
		let state = block.at().await.map_err(|error| lost(&self.url, error))?;
		let events = block.fetch_events().await;
		let at = At {
			url: self.url.clone(),
			state,
		};
		let mut done = Done {
			block: at.state.block_number(),
			block_hash: format!("{:?}", block.block_hash()),
			extrinsic: format!("{:?}", block.extrinsic_hash()),
			fee: None,
			events: events.map_err(|error| lost(&self.url, error))?,
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
				// What the pool has against it stands in the data, where there is any.
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
			error => lost(&self.url, error),
		}
	}

	fn of_progress(&self, name: &str, error: TransactionProgressError) -> Failure {
		match error {
			TransactionProgressError::TransactionStatusError(error) => {
				Failure::refused(name, error)
			}
			error => lost(&self.url, error),
		}
	}
}

/// The best blocks, as they come.
pub struct Blocks<'chain> {
	chain: &'chain Chain,
	heads: rpcs::client::RpcSubscription<<Config as subxt::Config>::Header>,
}

impl Blocks<'_> {
	/// The state after the next best block.
	pub async fn next(&mut self) -> Result<At> {
		match self.heads.next().await {
			Some(Ok(_)) => self.chain.best().await,
			Some(Err(error)) => Err(lost(&self.chain.url, error)),
			None => Err(lost(&self.chain.url, "the connection ended")),
		}
	}
}

impl At {
	/// The block's number.
	pub fn number(&self) -> u32 {
		u32::try_from(self.state.block_number()).unwrap_or(u32::MAX)
	}

	/// Asks a view function.
	///
	/// Arguments and answer are bytes in bytes, and the answer may be an error of the dispatch: subxt 0.51
	/// knows neither, so it only finds the function and its types here.
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
		let answer = match timeout(PATIENCE, views.call_raw(Some(&query))).await {
			Ok(Ok(answer)) => answer,
			Ok(Err(error)) => return Err(lost(&self.url, error)),
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

	/// Asks a view function that may refuse to answer, as a call would.
	pub async fn try_view<Answer: DecodeAsType>(
		&self,
		pallet: &str,
		function: &str,
		arguments: impl IntoEncodableValues,
	) -> Result<Answer> {
		let answer: Result<Answer, Refusal> = self.view(pallet, function, arguments).await?;
		answer.map_err(|refusal| self.named(&refusal))
	}

	/// A refusal by its name, and what its pallet says of it.
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
				"the account has too little KAI at its disposal for this",
			)
			.advise("`kaisar status` shows what it has"),
			Refusal::Arithmetic(error) => {
				Failure::refused(inner("Arithmetic", error), "the amount is too large")
			}
			Refusal::Transactional(error) | Refusal::Trie(error) => Failure::refused(
				inner("Internal", error),
				"the chain could not carry the call out",
			),
			Refusal::BadOrigin | Refusal::RootNotAllowed => {
				Failure::refused("BadOrigin", "this account may not do this")
			}
			other => Failure::refused(format!("{other:?}"), "the chain refused it"),
		}
	}

	/// Reads an item of storage, if it is there.
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
		let fetched = match timeout(PATIENCE, storage.try_fetch(address, keys)).await {
			Ok(Ok(fetched)) => fetched,
			Ok(Err(StorageError::CannotFetchValue(error))) => return Err(lost(&self.url, error)),
			Ok(Err(error)) => return Err(unknown(&name, error)),
			Err(_) => return Err(silent(&self.url)),
		};
		fetched
			.map(|value| value.decode().map_err(|error| unknown(&name, error)))
			.transpose()
	}
}

impl Done {
	/// The fields of the events of this name that the call deposited, in their order.
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

	/// The fields of the first of them.
	pub fn event<Fields: DecodeAsFields>(
		&self,
		pallet: &str,
		name: &str,
	) -> Result<Option<Fields>> {
		Ok(self.events(pallet, name)?.into_iter().next())
	}

	/// The same of an event that the call cannot do without.
	pub fn must<Fields: DecodeAsFields>(&self, pallet: &str, name: &str) -> Result<Fields> {
		self.event(pallet, name)?
			.ok_or_else(|| unknown(&format!("{pallet}.{name}"), "there is no such event"))
	}
}

/// The node went away, or answered with nonsense.
fn lost(url: &str, why: impl fmt::Display) -> Failure {
	let why = plainly(why);
	Failure::unreachable(format!(
		"the node at {url} does not answer as it should: {why}"
	))
}

/// What an error says, without the layers that it came through.
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

/// The node does not answer.
fn silent(url: &str) -> Failure {
	lost(url, format!("nothing in {} s", PATIENCE.as_secs()))
}

/// The chain has no such call, view function, event or type.
fn unknown(name: &str, why: impl fmt::Display) -> Failure {
	Failure::unreachable(format!(
		"the chain's {name} is not as this program knows it: {why}"
	))
	.advise("kaisar and the node are of different versions")
}

/// What the pool has against a transaction.
fn of_pool(name: &str, why: &str) -> Failure {
	let failure = Failure::refused(name, why);
	if why.contains("pay some fees") {
		failure.advise("the account has too little KAI for the transaction fee")
	} else {
		failure
	}
}

/// Why a view function was not even called, laid out as the chain's type for it.
#[derive(Debug, Decode)]
enum ViewFunctionDispatchError {
	NotImplemented,
	/// Which one; it is shown by `Debug` alone.
	NotFound(#[allow(dead_code)] [u8; QUERY_ID]),
	Codec,
}

/// Why a call failed, or a view function gives no answer, laid out as the chain's type for errors.
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

/// An error of a pallet.
#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct ModuleError {
	/// The pallet.
	index: u8,
	/// The error, and what it holds.
	error: [u8; 4],
}

/// An error of a pallet, with what can be done about those that users meet.
fn of_module(pallet: &str, error: &str, docs: &[String]) -> Failure {
	let name = format!("{pallet}.{error}");
	let advice = match name.as_str() {
		"Orders.PriceAboveLimit" => {
			"the price moved; see `kaisar quote`, or give more with --max-price"
		}
		"Orders.PriceBelowFloor" => {
			"the price fell below its worker's floor; try later, or order anew"
		}
		"Orders.TooFewHours" => "month is 720 hours at least, quarter 2,160",
		"Orders.NoPrice" => "`kaisar classes` lists the classes; not all of them have a price",
		"Orders.InsufficientCredits" => "`kaisar status` shows them",
		"Providers.StakeBelowMinimum" => {
			"`kaisar status WORKER` shows the least; `kaisar register` takes it by default"
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
	fn an_error_is_told_without_its_layers() {
		assert_eq!(
			plainly(
				"Other RPC client error: RPC error: client error: RPC error: Connection refused"
			),
			"Connection refused"
		);
		assert_eq!(plainly("Token error: none"), "Token error: none");
	}

	#[test]
	fn what_the_pool_says_is_a_refusal() {
		let failure = of_pool(
			"Orders.place_order",
			"Inability to pay some fees (e.g. low)",
		);
		assert!(failure.advice.is_some());
		assert!(of_pool("Orders.place_order", "Stale").advice.is_none());
	}

	#[test]
	fn an_error_of_a_pallet_has_its_docs_and_what_to_do() {
		let docs = [
			"It costs more than".to_owned(),
			" the customer would pay.".to_owned(),
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
