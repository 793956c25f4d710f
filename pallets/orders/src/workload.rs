//! Workloads of orders, and templates of the chain's list.

use crate::pallet::{Config, Error, Event, Orders, Pallet, Templates, Workloads};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{ensure, pallet_prelude::ConstU32};
use kaisar_primitives::{
	ClientKey, Image, MAX_IMAGE, OrderId, Ports, TemplateId, Workload, WorkloadItems,
};
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::{BoundedVec, DispatchResult};

/// Maximum number of capabilities of a template.
pub const MAX_CAPABILITIES: u32 = 8;

/// A capability that a template may name: one of the agents' own list (`agent/src/containers/limits.rs`), so
/// that no template names a capability that agents refuse. Those that would let a container escape are in
/// neither list, so that governance cannot name them by mistake.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	PartialOrd,
	Ord,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum Capability {
	/// `CHOWN`.
	Chown,
	/// `DAC_OVERRIDE`.
	DacOverride,
	/// `FOWNER`.
	Fowner,
	/// `KILL`.
	Kill,
	/// `NET_BIND_SERVICE`.
	NetBindService,
	/// `SETGID`.
	SetGid,
	/// `SETUID`.
	SetUid,
}

impl Capability {
	/// Returns the name that container engines use.
	pub const fn name(self) -> &'static str {
		match self {
			Self::Chown => "CHOWN",
			Self::DacOverride => "DAC_OVERRIDE",
			Self::Fowner => "FOWNER",
			Self::Kill => "KILL",
			Self::NetBindService => "NET_BIND_SERVICE",
			Self::SetGid => "SETGID",
			Self::SetUid => "SETUID",
		}
	}
}

/// An OCI reference.
pub type Reference = BoundedVec<u8, ConstU32<MAX_IMAGE>>;

/// A workload in the chain's list, which orders can name.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Template {
	/// The image's OCI reference.
	pub image: Reference,
	/// Arguments, which replace the image's own.
	pub args: WorkloadItems,
	/// Environment variables, added to the image's own.
	pub env: WorkloadItems,
	/// Ports that customers are connected to; by default those that the image exposes.
	pub ports: Ports,
	/// The capabilities that the container keeps; all others are dropped.
	pub capabilities: BoundedVec<Capability, ConstU32<MAX_CAPABILITIES>>,
	/// blake2-256 of a JSON document with its `name` and `text`, parameters and required hardware.
	pub metadata: Option<H256>,
}

impl Template {
	/// Returns a template with an image and nothing else.
	pub fn of(image: Reference) -> Self {
		Self {
			image,
			args: Default::default(),
			env: Default::default(),
			ports: Default::default(),
			capabilities: Default::default(),
			metadata: None,
		}
	}

	/// Returns whether the template keeps the limits of a workload.
	pub fn is_valid(&self) -> bool {
		let mut workload = Workload::of(Image::Reference(self.image.clone()));
		workload.args = self.args.clone();
		workload.env = self.env.clone();
		workload.ports = self.ports.clone();
		workload.is_valid()
	}

	/// Returns the template with a workload's arguments and ports in place of its own, where the workload
	/// has any, and the workload's variables after its own. `None` if there are too many variables.
	pub fn with(mut self, workload: &Workload) -> Option<Self> {
		if !workload.args.is_empty() {
			self.args = workload.args.clone();
		}
		if !workload.ports.is_empty() {
			self.ports = workload.ports.clone();
		}
		self.env.try_extend(workload.env.iter().cloned()).ok()?;
		Some(self)
	}
}

/// The workload of an order, fixed when the order is placed: a later change of a template does not affect
/// the orders that named it.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Ordered {
	/// The template that the order named, if any.
	pub template: Option<TemplateId>,
	/// The image with its arguments, variables and ports: those of the template, with the order's own.
	pub run: Template,
	/// Whether the agent waits for a sealed part before it starts the container.
	pub sealed: bool,
	/// Whether the rest of the paid time is matched again if the worker fails. It has no effect yet.
	pub failover: bool,
	/// The ed25519 key that may connect.
	pub client_key: ClientKey,
}

impl<T: Config> Pallet<T> {
	/// Ensures that a reference has only characters of OCI references and begins with a letter or a digit,
	/// so that it is never taken for an option.
	pub(crate) fn ensure_reference(reference: &[u8]) -> Result<(), Error<T>> {
		let begins = reference.first().is_some_and(u8::is_ascii_alphanumeric);
		let known = |byte: &u8| {
			byte.is_ascii_alphanumeric()
				|| matches!(byte, b'.' | b'-' | b'_' | b'/' | b':' | b'@' | b'+')
		};
		ensure!(
			begins && reference.iter().all(known),
			Error::<T>::InvalidImage
		);
		Ok(())
	}

	/// Returns the workload that an order stores: with the template that it names filled in.
	pub(crate) fn resolve(workload: Workload, client_key: ClientKey) -> Result<Ordered, Error<T>> {
		ensure!(workload.is_valid(), Error::<T>::InvalidWorkload);
		let (template, base) = match &workload.image {
			Image::Template(id) => {
				let template = Templates::<T>::get(id).ok_or(Error::<T>::UnknownTemplate)?;
				(Some(*id), template)
			}
			Image::Reference(reference) => {
				Self::ensure_reference(reference)?;
				(None, Template::of(reference.clone()))
			}
		};
		let run = base.with(&workload).filter(Template::is_valid);
		Ok(Ordered {
			template,
			run: run.ok_or(Error::<T>::InvalidWorkload)?,
			sealed: workload.sealed,
			failover: workload.failover,
			client_key,
		})
	}

	pub(crate) fn do_set_client_key(
		who: &T::AccountId,
		id: OrderId,
		new: ClientKey,
	) -> DispatchResult {
		let order = Orders::<T>::get(id).ok_or(Error::<T>::UnknownOrder)?;
		ensure!(order.customer == *who, Error::<T>::NotCustomer);
		// A closed order has no workload.
		let old = Workloads::<T>::try_mutate(id, |workload| {
			let workload = workload.as_mut().ok_or(Error::<T>::WrongState)?;
			Ok::<_, Error<T>>(core::mem::replace(&mut workload.client_key, new))
		})?;
		Self::deposit_event(Event::ClientKeySet {
			order: id,
			old,
			new,
		});
		Ok(())
	}

	pub(crate) fn do_set_template(id: TemplateId, template: Option<Template>) -> DispatchResult {
		if let Some(template) = &template {
			Self::ensure_reference(&template.image)?;
			ensure!(template.is_valid(), Error::<T>::InvalidWorkload);
		}
		let old = Templates::<T>::get(id);
		Templates::<T>::set(id, template.clone());
		Self::deposit_event(Event::TemplateSet {
			id,
			old,
			new: template,
		});
		Ok(())
	}
}
