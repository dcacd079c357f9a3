//! Every source with every fault, and the failures of other routers.
//!
//! | module | idea |
//! |---|---|
//! | `cells` | which source shows what when it is struck, and which test holds it |
//! | `rig` | one trial: a fault begins and ends, and what must hold meanwhile |
//! | `http` | a registry over HTTP that can be made to fail |
//! | `consul`, `etcd`, `kubernetes`, `docker`, `dns`, `file` | the registries |
//! | `absent` | how often a registry that is not there is looked for |
//! | `ledger` | the documents say the same as the tests |

mod absent;
mod cells;
mod consul;
mod dns;
mod docker;
mod etcd;
mod file;
mod http;
mod kubernetes;
mod ledger;
mod rig;
