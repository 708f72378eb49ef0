use std::fmt;
use std::sync::Arc;

use daybook_engine::{Leaf, Performer};

use crate::aggregate_leaf::{Acting, AggregateLeaf, Still};
use crate::performer::Performing;
use crate::policy::PolicyLeaf;
use crate::projection::ProjectionLeaf;
use crate::{Acts, Aggregate, Perform, Policy, Projection, ReadRoute};

/// One part of a leaf, ready to be run by an engine.
#[derive(Clone)]
pub struct Part {
    pub leaf: Arc<dyn Leaf>,
    /// Where the part acts on the outside world.
    pub performer: Option<Arc<dyn Performer>>,
    /// Where the part has rows to read.
    pub routes: Vec<ReadRoute>,
}

impl Part {
    pub fn aggregate<A: Aggregate>() -> Self {
        Self::of(AggregateLeaf::<A, Still>::new())
    }

    /// An aggregate that acts on the outside world through this adapter.
    pub fn acting<A: Acts>(adapter: impl Perform<A>) -> Self {
        let performer: Arc<dyn Performer> = Arc::new(Performing::<A, _>::new(adapter));
        Self { performer: Some(performer), ..Self::of(AggregateLeaf::<A, Acting>::new()) }
    }

    pub fn projection<P: Projection>() -> Self {
        Self { routes: P::routes(), ..Self::of(ProjectionLeaf::<P>::new()) }
    }

    pub fn policy<P: Policy>() -> Self {
        Self::of(PolicyLeaf::<P>::new())
    }

    fn of(leaf: impl Leaf) -> Self {
        Self { leaf: Arc::new(leaf), performer: None, routes: Vec::new() }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Part").field(&self.leaf.spec().name).finish()
    }
}
