//! List of the pallets that can be benchmarked on this runtime.

frame_benchmarking::define_benchmarks!(
	[frame_system, frame_system_benchmarking::Pallet::<Runtime>]
	[pallet_balances, Balances]
	[pallet_multisig, Multisig]
	[pallet_nfts, Nfts]
	[pallet_parameters, Parameters]
	[pallet_preimage, Preimage]
	[pallet_proxy, Proxy]
	[pallet_scheduler, Scheduler]
	[pallet_sudo, Sudo]
	[pallet_timestamp, Timestamp]
	[pallet_transaction_payment, TransactionPayment]
	[pallet_treasury, Treasury]
	[pallet_utility, Utility]
	[pallet_providers, Providers]
	[pallet_licenses, Licenses]
	[pallet_checkers, Checkers]
	[pallet_orders, Orders]
	[pallet_popw, Popw]
	[pallet_rewards, Rewards]
);
