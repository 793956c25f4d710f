//! The development chain. Its blocks are sealed at an interval, for transactions or by RPC, and each is a
//! full slot of the chain's time after its parent, whatever the wall clock shows.

use crate::{cli::Sealing, client::FullClient};
use futures::{Stream, StreamExt, channel::mpsc, stream};
use kaisar_runtime::{Hash, opaque::Block};
use sc_client_api::{BlockchainEvents, Finalizer, UsageProvider};
use sc_consensus_manual_seal::EngineCommand;
use sc_service::Error;
use sc_transaction_pool_api::TransactionPool;
use sp_consensus_babe::SlotDuration;
use sp_inherents::CreateInherentDataProviders;
use sp_runtime::traits::Header as _;
use std::{sync::Arc, time::Duration};

/// Source of the time of a new block.
#[derive(Clone)]
pub enum Clock {
	/// The wall clock.
	Wall(SlotDuration),
	/// The slot after the parent's; for the first block, the wall clock's slot. So the time continues where
	/// it was after a restart, and sealing and import agree.
	Chain(SlotDuration, Arc<FullClient>),
}

impl Clock {
	/// Returns the time, in milliseconds, of a block on top of `parent`, and the length of a slot.
	fn millis(&self, parent: Hash) -> Result<(u64, SlotDuration), Error> {
		let now = *sp_timestamp::Timestamp::current();
		match self {
			Self::Wall(slot) => Ok((now, *slot)),
			Self::Chain(duration, client) => {
				let header = client.header(parent)?.ok_or_else(|| {
					Error::Other(format!("The parent block {parent:?} is unknown"))
				})?;
				let slot = if *header.number() == 0 {
					now / duration.as_millis()
				} else {
					let digest = sc_consensus_babe::find_pre_digest::<Block>(&header)
						.map_err(|error| Error::Other(error.to_string()))?;
					*digest.slot() + 1
				};
				Ok((slot * duration.as_millis(), *duration))
			}
		}
	}
}

#[async_trait::async_trait]
impl CreateInherentDataProviders<Block, ()> for Clock {
	type InherentDataProviders = (
		sp_consensus_babe::inherents::InherentDataProvider,
		sp_timestamp::InherentDataProvider,
	);

	async fn create_inherent_data_providers(
		&self,
		parent: Hash,
		(): (),
	) -> Result<Self::InherentDataProviders, Box<dyn std::error::Error + Send + Sync>> {
		let (millis, duration) = self.millis(parent)?;
		let timestamp = sp_timestamp::Timestamp::new(millis);
		let slot =
			sp_consensus_babe::inherents::InherentDataProvider::from_timestamp_and_slot_duration(
				timestamp, duration,
			);
		Ok((slot, sp_timestamp::InherentDataProvider::new(timestamp)))
	}
}

/// Time for the pool to process a block; then the block is finalized all the same.
const POOL_LIMIT: Duration = Duration::from_secs(5);

/// Finalizes every block once it is imported and the pool has processed it. If a block were final earlier,
/// the pool would drop its "in block" messages, for which wallets wait; and if it were final on import, BABE
/// would also warn that it cannot find the block yet.
pub async fn finalize<Pool>(client: Arc<FullClient>, pool: Arc<Pool>)
where
	Pool: TransactionPool<Block = Block, Hash = Hash> + 'static,
{
	let mut blocks = client.import_notification_stream();
	while let Some(block) = blocks.next().await {
		let number = *block.header.number();
		if !block.is_new_best || number <= client.usage_info().chain.finalized_number {
			continue;
		}
		if tokio::time::timeout(POOL_LIMIT, pool.ready_at(block.hash))
			.await
			.is_err()
		{
			log::debug!("The pool has not processed block {number} within {POOL_LIMIT:?}");
		}
		if let Err(error) = client.finalize_block(block.hash, None, true) {
			log::warn!("Cannot finalize block {number}: {error}");
		}
	}
}

/// Returns a command to seal a block now, empty or not.
fn seal_now() -> EngineCommand<Hash> {
	EngineCommand::SealNewBlock {
		create_empty: true,
		finalize: false,
		parent_hash: None,
		sender: None,
	}
}

/// Returns the commands to seal blocks: those of the `sealing` mode, and those by RPC. No block is final on
/// import, even where an RPC asks for it: [`finalize`] does that for all blocks.
pub fn commands<Pool>(
	sealing: Sealing,
	pool: &Pool,
	rpc: mpsc::Receiver<EngineCommand<Hash>>,
) -> impl Stream<Item = EngineCommand<Hash>> + Send + Unpin + use<Pool>
where
	Pool: TransactionPool<Block = Block>,
{
	let sealed: stream::BoxStream<'static, EngineCommand<Hash>> = match sealing {
		Sealing::Interval(every) => stream::unfold(None, move |ticker| async move {
			let mut ticker = ticker.unwrap_or_else(|| {
				let mut ticker = tokio::time::interval(every);
				ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
				ticker
			});
			ticker.tick().await;
			Some((seal_now(), Some(ticker)))
		})
		.boxed(),
		Sealing::Instant => pool
			.import_notification_stream()
			.map(|_| seal_now())
			.boxed(),
		Sealing::Manual => stream::pending().boxed(),
	};
	let rpc = rpc.map(|command| match command {
		EngineCommand::SealNewBlock {
			create_empty,
			parent_hash,
			sender,
			finalize: _,
		} => EngineCommand::SealNewBlock {
			create_empty,
			finalize: false,
			parent_hash,
			sender,
		},
		other => other,
	});
	stream::select(sealed, rpc)
}
