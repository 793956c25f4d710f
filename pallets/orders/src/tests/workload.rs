//! Tests of workloads: images, templates, limits, and removal.

use super::*;
use kaisar_primitives::{ClientKey, Ports, WorkloadItems};
use sp_core::H256;
use sp_runtime::BoundedVec;

fn try_run(workload: Workload) -> sp_runtime::DispatchResult {
	Rentals::place_order(
		signed(CARLA),
		ONE,
		workload,
		2,
		Plan::OnDemand,
		Balance::MAX,
		0,
		client_key(),
	)
}

fn items(items: &[&str]) -> WorkloadItems {
	let item = |item: &&str| BoundedVec::truncate_from(item.as_bytes().to_vec());
	BoundedVec::truncate_from(items.iter().map(item).collect())
}

fn ports(ports: &[u16]) -> Ports {
	BoundedVec::truncate_from(ports.to_vec())
}

fn set(template: Option<Template>) -> sp_runtime::DispatchResult {
	Rentals::set_template(RuntimeOrigin::root(), 3, template)
}

fn jupyter() -> Template {
	Template {
		args: items(&["lab"]),
		env: items(&["HOME=/home"]),
		ports: ports(&[8_888]),
		capabilities: BoundedVec::truncate_from(vec![Capability::Chown]),
		metadata: Some(H256::repeat_byte(5)),
		..Template::of(reference("jupyter"))
	}
}

#[test]
fn fails_for_an_image_that_is_none() {
	ExtBuilder.build_and_execute(|| {
		let place = |image| {
			Rentals::place_order(
				signed(CARLA),
				ONE,
				Workload::of(image),
				1,
				Plan::OnDemand,
				Balance::MAX,
				0,
				client_key(),
			)
		};
		for bad in ["", "-rm", "a b", "nginx;ls", "nginx\n", "näh"] {
			assert_noop!(
				place(Image::Reference(reference(bad))),
				Error::<Test>::InvalidImage
			);
		}
		for good in ["nginx", "ghcr.io:443/a-b/c_d.e:v1", "a@sha256:00ff"] {
			assert_ok!(place(Image::Reference(reference(good))));
		}
		assert_noop!(place(Image::Template(3)), Error::<Test>::UnknownTemplate);
	});
}

#[test]
fn all_of_it_is_kept_and_shown_until_the_order_is_closed() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let asked = Workload {
			args: items(&["--model", "llama"]),
			env: items(&["A=1", "B="]),
			ports: ports(&[80, 443]),
			sealed: true,
			failover: true,
			deploy_blocks: 100,
			..workload()
		};
		assert_ok!(try_run(asked.clone()));
		let view = Rentals::order(0).unwrap();
		assert_eq!(view.order.deploy_blocks, 100);
		let run = Template {
			args: asked.args,
			env: asked.env,
			ports: asked.ports,
			..Template::of(reference("docker.io/library/nginx:1.27"))
		};
		assert_eq!(
			view.workload,
			Some(Ordered {
				template: None,
				run,
				sealed: true,
				failover: true,
				client_key: client_key(),
			})
		);
		run_to(3);
		assert_ok!(Rentals::cancel_order(signed(CARLA), 0));
		assert_eq!(Rentals::order(0).unwrap().workload, None);
	});
}

#[test]
fn the_limits_of_a_workload() {
	ExtBuilder.build_and_execute(|| {
		let long = "a".repeat(2_046);
		let with = |args: &[&str], env: &[&str], ports_: &[u16], deploy_blocks| Workload {
			args: items(args),
			env: items(env),
			ports: ports(ports_),
			deploy_blocks,
			..workload()
		};
		for good in [
			with(&[&long], &["A="], &[], 0),
			with(&[], &[], &[1, 65_535], 75),
			with(&[""], &["A=b=c"], &[], 600),
		] {
			assert_ok!(try_run(good));
		}
		for bad in [
			with(&[&long], &["A=1"], &[], 0),
			with(&["a\0b"], &[], &[], 0),
			with(&[], &["A"], &[], 0),
			with(&[], &["=1"], &[], 0),
			with(&[], &[], &[0], 0),
			with(&[], &[], &[80, 80], 0),
			with(&[], &[], &[], 74),
			with(&[], &[], &[], 601),
		] {
			assert_noop!(try_run(bad), Error::<Test>::InvalidWorkload);
		}
	});
}

#[test]
fn an_order_may_have_more_time_to_deploy() {
	ExtBuilder.build_and_execute(|| {
		for (deploy_blocks, deadline) in [(0, DEADLINE), (75, 75), (600, 600)] {
			add_machine(PETRA);
			let id = NextOrderId::<Test>::get();
			assert_ok!(try_run(Workload {
				deploy_blocks,
				..workload()
			}));
			matched(id);
			let by = order(id).matched_at + deadline;
			assert_eq!(order(id).deploy_by, by);
			run_to(by);
			assert_eq!(state(id), OrderState::Deploying);
			next_block();
			assert_eq!(state(id), closed(CloseReason::DeployFailed));
		}
	});
}

#[test]
fn a_template_is_what_it_was_when_it_was_ordered() {
	ExtBuilder.build_and_execute(|| {
		assert_ok!(set(Some(jupyter())));
		let plain = Workload::of(Image::Template(3));
		assert_ok!(try_run(plain.clone()));
		// An order's own arguments and ports replace the template's; its variables follow them.
		assert_ok!(try_run(Workload {
			args: items(&["notebook"]),
			env: items(&["TOKEN=x"]),
			ports: ports(&[80]),
			..plain
		}));
		assert_ok!(set(Some(Template::of(reference("evil")))));
		let ordered = |id| Workloads::<Test>::get(id).unwrap();
		assert_eq!(ordered(0).run, jupyter());
		assert_eq!(
			ordered(1).run,
			Template {
				args: items(&["notebook"]),
				env: items(&["HOME=/home", "TOKEN=x"]),
				ports: ports(&[80]),
				..jupyter()
			}
		);
		assert_eq!([0, 1].map(|id| ordered(id).template), [Some(3), Some(3)]);
	});
}

#[test]
fn a_template_and_what_an_order_adds_keep_the_limits_together() {
	ExtBuilder.build_and_execute(|| {
		let full = items(&[&format!("A={}", "a".repeat(2_000))]);
		let template = Template {
			env: full.clone(),
			..jupyter()
		};
		assert_ok!(set(Some(template.clone())));
		let more = |more: &str| {
			try_run(Workload {
				env: items(&[&format!("B={more}")]),
				..Workload::of(Image::Template(3))
			})
		};
		assert_ok!(more(&"b".repeat(41)));
		assert_noop!(more(&"b".repeat(42)), Error::<Test>::InvalidWorkload);
		// Nor can a template exceed them.
		let bad = Template {
			args: full,
			..template
		};
		assert_noop!(set(Some(bad)), Error::<Test>::InvalidWorkload);
	});
}

#[test]
fn a_customer_that_lost_its_key_sets_another() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let new = ClientKey::from_raw([8; 32]);
		let set = |who, id| Rentals::set_client_key(signed(who), id, new);
		let connects = |id| Rentals::order(id).unwrap().workload.unwrap().client_key;
		let (id, _) = deployed(CARLA, 2);
		assert_noop!(set(DAN, id), Error::<Test>::NotCustomer);
		assert_noop!(set(PETRA, id), Error::<Test>::NotCustomer);
		assert_noop!(set(CARLA, id + 1), Error::<Test>::UnknownOrder);
		events();
		assert_ok!(set(CARLA, id));
		assert_eq!(connects(id), new);
		assert_eq!(
			events(),
			vec![Event::ClientKeySet {
				order: id,
				old: client_key(),
				new,
			}]
		);
		// A waiting order has a key as well, a closed one has none.
		let waiting = place(CARLA, 1);
		assert_ok!(set(CARLA, waiting));
		assert_eq!(connects(waiting), new);
		assert_ok!(Rentals::cancel_order(signed(CARLA), waiting));
		assert_noop!(set(CARLA, waiting), Error::<Test>::WrongState);
	});
}
