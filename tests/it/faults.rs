//! Every source with every fault, and the failures of other routers.
//!
//! | module | idea |
//! |---|---|
//! | `cells` | which source shows what when it is struck, and which test holds it |
//! | `rig` | one trial: a fault begins and ends, and what must hold meanwhile |
//! | `table` | all trials of a source, in a program of their own |
//! | `weather` | the time of day and the disk of that program |
//! | `wire`, `http` | a registry that can be made to fail, and one that speaks HTTP |
//! | `consul`, `etcd`, `zookeeper`, `kubernetes`, `docker`, `dns`, `file`, `embedded` | the registries |
//! | `absent` | how often a registry that is not there is looked for |
//! | `ledger` | the documents say the same as the tests |

mod absent;
mod cells;
mod consul;
mod dns;
mod docker;
mod embedded;
mod etcd;
mod file;
mod http;
mod kubernetes;
mod ledger;
mod rig;
mod table;
pub(crate) mod weather;
mod wire;
mod zookeeper;
