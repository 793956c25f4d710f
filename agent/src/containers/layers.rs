//! Progress of a pull, by the image's layers.

use super::brief::brief;
use bollard::models::CreateImageInfo;
use std::collections::BTreeMap;

/// Maximum number of an image's layers whose progress is kept.
const MAX_LAYERS: usize = 512;

/// Layers of an image during its pull, as the engine reports them.
#[derive(Debug, Default)]
pub(super) struct Layers {
	/// Present and total bytes of each layer.
	layers: BTreeMap<String, (u64, u64)>,
}

impl Layers {
	/// Records a report of the engine.
	pub fn note(&mut self, info: CreateImageInfo) {
		let Some(id) = info.id.map(|id| brief(&id)) else {
			return;
		};
		let status = info.status.unwrap_or_default();
		if ["Download complete", "Pull complete"].contains(&status.as_str()) {
			if let Some((current, total)) = self.layers.get_mut(&id) {
				*current = *total;
			}
			return;
		}
		// Only downloads count; the engine reports the unpacking of layers in the same form.
		if status != "Downloading" {
			return;
		}
		let size = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
		let (current, total) = info.progress_detail.map_or((None, None), |detail| {
			(size(detail.current), size(detail.total))
		});
		if let (Some(current), Some(total)) = (current, total)
			&& total > 0
			&& (self.layers.len() < MAX_LAYERS || self.layers.contains_key(&id))
		{
			self.layers.insert(id, (current.min(total), total));
		}
	}

	/// Returns the bytes of the layers whose size is known.
	pub fn total(&self) -> u64 {
		self.layers
			.values()
			.fold(0, |sum: u64, (_, total)| sum.saturating_add(*total))
	}

	/// Returns the part of them that is present, in percent.
	pub fn percent(&self) -> u8 {
		let there = self
			.layers
			.values()
			.fold(0, |sum: u64, (current, _)| sum.saturating_add(*current));
		let percent = u128::from(there) * 100 / u128::from(self.total().max(1));
		percent.min(100) as u8
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use bollard::models::ProgressDetail;

	#[test]
	fn progress_counts_the_known_layers() {
		let mut layers = Layers::default();
		assert_eq!((layers.percent(), layers.total()), (0, 0));
		let mut note = |id: &str, status: &str, detail: Option<(i64, i64)>| {
			layers.note(CreateImageInfo {
				id: Some(id.into()),
				status: Some(status.into()),
				progress_detail: detail.map(|(current, total)| ProgressDetail {
					current: Some(current),
					total: Some(total),
				}),
				..Default::default()
			});
			(layers.percent(), layers.total())
		};
		assert_eq!(note("a", "Downloading", Some((50, 100))), (50, 100));
		assert_eq!(note("b", "Downloading", Some((0, 100))), (25, 200));
		assert_eq!(note("c", "Downloading", Some((-1, 5))), (25, 200));
		assert_eq!(note("a", "Download complete", None), (50, 200));
		assert_eq!(note("a", "Extracting", Some((1, 100))), (50, 200));
		assert_eq!(note("b", "Downloading", Some((300, 100))), (100, 200));
		let (percent, _) = note("d", "Downloading", Some((i64::MAX, i64::MAX)));
		assert_eq!(percent, 100);
		for id in 0..2 * MAX_LAYERS {
			layers.note(CreateImageInfo {
				id: Some(id.to_string()),
				status: Some("Downloading".into()),
				progress_detail: Some(ProgressDetail {
					current: Some(0),
					total: Some(1),
				}),
				..Default::default()
			});
		}
		assert_eq!(layers.layers.len(), MAX_LAYERS);
	}
}
