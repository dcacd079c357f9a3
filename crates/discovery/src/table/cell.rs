//! Where the current table is: one writer, any number of readers, none of which waits.

use std::{fmt, sync::Arc};

use arc_swap::{ArcSwap, Cache};
use tokio::sync::watch;

use super::Table;

/// Holds the current table. The only file that knows how tables are shared.
pub struct TableCell {
    table: Arc<ArcSwap<Table>>,
    generation: watch::Sender<u64>,
}

impl TableCell {
    /// A cell with this table in it.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let generation = watch::Sender::new(table.generation);
        Self { table: Arc::new(ArcSwap::from_pointee(table)), generation }
    }

    /// Reads the current table for the length of a closure. For a core's own reads see [`TableReader`].
    pub fn with<T>(&self, read: impl FnOnce(&Table) -> T) -> T {
        read(&self.table.load())
    }

    /// The current table, to keep for a while.
    #[must_use]
    pub fn load(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Announces the generation of each new table, after it can be read: whoever subscribes, then reads, then waits
    /// misses none.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// A reader for one core.
    #[must_use]
    pub fn reader(&self) -> TableReader {
        TableReader(Cache::new(self.table.clone()), self.generation.subscribe())
    }

    /// Publishes a table and returns the one before. For the reconciler only, which is the one writer; public so that
    /// what it costs can be measured.
    pub fn store(&self, table: Table) -> Arc<Table> {
        let generation = table.generation;
        let old = self.table.swap(Arc::new(table));
        self.generation.send_replace(generation);
        old
    }
}

impl fmt::Debug for TableCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableCell").field("generation", &*self.generation.borrow()).finish_non_exhaustive()
    }
}

/// One core's pointer to the current table: a read costs one atomic load to see that it still is.
///
/// It keeps its table alive until it reads again, so an idle core should read now and then.
#[derive(Clone)]
pub struct TableReader(Cache<Arc<ArcSwap<Table>>, Arc<Table>>, watch::Receiver<u64>);

impl TableReader {
    /// The current table.
    pub fn load(&mut self) -> &Arc<Table> {
        self.0.load()
    }

    /// Announces each new table from now on, as [`TableCell::generations`] does.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        let mut generations = self.1.clone();
        generations.mark_unchanged();
        generations
    }
}

impl fmt::Debug for TableReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableReader")
    }
}
