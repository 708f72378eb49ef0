use std::sync::{Arc, OnceLock};

use crate::{Writer, all};

/// The registry as far as reading and writing need it. Whatever has to be fetched for an answer
/// has been fetched before.
pub trait Schemas {
    /// The schema with this id; `None` if it is not known (yet).
    fn writer(&self, id: u32) -> Option<Arc<Writer>>;
    /// The id under which messages called `full_name` are written.
    fn id_of(&self, full_name: &str) -> Option<u32>;
}

/// The schemas of this build without a registry: ids follow the order of [`all`], from 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaticSchemas;

impl Schemas for StaticSchemas {
    fn writer(&self, id: u32) -> Option<Arc<Writer>> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        writers().get(index).cloned()
    }

    fn id_of(&self, full_name: &str) -> Option<u32> {
        let index = all().binary_search_by(|descriptor| descriptor.full_name.cmp(full_name)).ok()?;
        u32::try_from(index + 1).ok()
    }
}

fn writers() -> &'static [Arc<Writer>] {
    static WRITERS: OnceLock<Vec<Arc<Writer>>> = OnceLock::new();
    WRITERS.get_or_init(|| {
        (1..)
            .zip(all())
            .map(|(id, descriptor)| {
                Arc::new(
                    Writer::parse(id, descriptor.schema)
                        .expect("schemas of this build are checked when they are generated"),
                )
            })
            .collect()
    })
}
