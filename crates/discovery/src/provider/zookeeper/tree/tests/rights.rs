//! What may not be read, not yet or not any more.

use super::*;

#[test]
fn a_refusal_is_unknown_and_asked_again_until_the_whole_list_is_there() {
    let mut server = Server::with(&[("/services/pets/1", 1), ("/services/pets/2", 2)]);
    server.forbidden = ["/services/pets", "/services/pets/2"].map(str::to_owned).into();
    let mut tree = tree();
    tree.want(&wanted(&["pets"]), false);
    assert_eq!(words(&server.settle(&mut tree)), ["pets: ? denied"]);
    tree.retry();
    assert_eq!(words(&server.settle(&mut tree)), [""; 0]);
    server.forbidden.remove("/services/pets");
    tree.retry();
    assert_eq!(words(&server.settle(&mut tree)), ["pets skipped", "pets: 1"]);
    tree.retry();
    assert_eq!(words(&server.settle(&mut tree)), [""; 0]);
    server.forbidden.clear();
    tree.retry();
    assert_eq!(words(&server.settle(&mut tree)), ["pets: 1,2"]);
    server.reads = 0;
    tree.retry();
    server.settle(&mut tree);
    assert_eq!(server.reads, 0);
}

#[test]
fn a_right_that_was_lost_is_found_when_the_service_has_its_turn() {
    let mut server = Server::with(&[("/services/cats/1", 1), ("/services/pets/1", 1)]);
    let mut tree = tree();
    tree.want(&wanted(&["cats", "pets"]), false);
    server.settle(&mut tree);
    server.forbidden.insert("/services/pets".into());
    tree.try_rights();
    assert_eq!(words(&server.settle(&mut tree)), [""; 0], "cats");
    tree.try_rights();
    assert_eq!(words(&server.settle(&mut tree)), ["pets: ? denied"]);
    tree.want(&wanted(&["cats"]), false);
    tree.try_rights();
    assert_eq!(tree.queue.len(), 1, "who is gone has no turn");
}

#[test]
fn where_one_right_was_lost_all_are_tried_at_once() {
    let names = ["cats", "dogs", "pets"];
    let mut server = Server::with(&[("/services/cats/1", 1), ("/services/dogs/1", 1), ("/services/pets/1", 1)]);
    let mut tree = tree();
    tree.want(&wanted(&names), false);
    server.settle(&mut tree);
    server.forbidden = ["/services/cats", "/services/pets"].map(str::to_owned).into();
    tree.try_rights();
    let mut told = words(&server.settle(&mut tree));
    told.sort();
    assert_eq!(told, ["cats: ? denied", "pets: ? denied"]);
    tree.try_rights();
    assert_eq!(tree.queue.len(), 1, "what is known to be lost is no alarm");
}
