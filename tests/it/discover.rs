//! Which instances requests reach, while registries change under load: discovery and balancing through a whole router.

mod balance;
mod choose;
mod clock;
mod consul;
mod courtesy;
mod embedded;
mod etcd;
mod file;
mod first_use;
mod kubernetes;
mod remembered;
pub(crate) mod rig;
mod sticky;
mod swap;
mod withdraw;
mod zookeeper;
