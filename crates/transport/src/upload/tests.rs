use std::{future::poll_fn, task::Waker};

use super::*;

const KEEP: usize = 64 * 1024;

async fn all(upload: &mut Upload) -> Result<Vec<u8>, BodyError> {
    let mut out = Vec::new();
    while let Some(frame) = poll_fn(|cx| upload.poll_frame(cx)).await {
        out.extend_from_slice(frame?.data_ref().unwrap());
    }
    Ok(out)
}

fn upload(size: usize, limit: u64, room: &Room) -> (Upload, Rc<Tally>) {
    let tally = Tally::new(limit);
    (Upload::new(Body::Full(vec![7; size].into()), (KEEP, room), tally.clone(), |_| {}), tally)
}

#[tokio::test]
async fn a_small_body_can_be_sent_again_and_its_memory_is_given_back() {
    let room = Room::of(10_000);
    let (upload, tally) = upload(1000, 1000, &room);
    for _ in 0..3 {
        let mut turn = upload.turn();
        assert!(!turn.is_end() && !tally.is_done());
        assert_eq!(all(&mut turn).await.unwrap().len(), 1000);
        assert!(turn.is_end() && tally.is_done() && !tally.is_lost());
    }
    assert_eq!(tally.bytes(), 1000, "counted once");
    assert!(room.free() < 9000);
    upload.forget();
    assert_eq!(room.free(), 10_000);
}

#[tokio::test]
async fn what_is_there_is_known_before_anybody_takes_it_and_is_sent_once_in_each_turn() {
    for size in [0, 1000] {
        let (upload, tally) = upload(size, 1000, &Room::default());
        assert!(!upload.has_begun());
        for _ in 0..2 {
            assert_eq!(poll_fn(|cx| upload.poll_gathered(cx)).await, Ok(()));
            assert!(upload.has_begun() && upload.is_gathered() && upload.is_whole());
        }
        assert_eq!(tally.bytes(), 0, "nobody took it");
        for _ in 0..2 {
            let mut turn = upload.turn();
            assert_eq!((turn.is_end(), turn.size_hint().exact()), (size == 0, None));
            assert_eq!(all(&mut turn).await.unwrap().len(), size);
            assert!(turn.is_end() && tally.is_done());
            assert_eq!(poll_fn(|cx| upload.poll_gathered(cx)).await, Ok(()));
        }
        assert_eq!(tally.bytes(), size as u64);
    }
}

#[tokio::test]
async fn a_large_body_is_sent_once() {
    let room = Room::of(1 << 20);
    let (upload, tally) = upload(KEEP, u64::MAX, &room);
    assert!(!tally.is_lost(), "nothing was sent yet");
    assert_eq!(all(&mut upload.turn()).await.unwrap().len(), KEEP);
    assert!(tally.is_lost());
    assert_eq!(room.free(), 1 << 20);
}

#[tokio::test]
async fn without_room_nothing_is_kept() {
    let room = Room::of(2000);
    let ((first, _), (second, tally)) = (upload(1000, 1000, &room), upload(1000, 1000, &room));
    all(&mut first.turn()).await.unwrap();
    assert_eq!(all(&mut second.turn()).await.unwrap().len(), 1000);
    assert!(tally.is_lost());
    drop(first);
    assert_eq!(room.free(), 2000);
}

#[tokio::test]
async fn more_than_the_limit_is_an_error() {
    let room = Room::default();
    assert_eq!(all(&mut upload(1001, 1000, &room).0.turn()).await, Err(BodyError::TooLarge));
    assert_eq!(all(&mut upload(1000, 1000, &room).0.turn()).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn a_limit_can_be_raised_while_the_body_comes() {
    let (upload, tally) = upload(1001, 1000, &Room::default());
    tally.admit(1001);
    assert_eq!(all(&mut upload.turn()).await.unwrap().len(), 1001);
}

#[tokio::test]
async fn an_earlier_turn_stands_still_and_takes_nothing_from_the_next() {
    let (upload, _) = upload(1000, 1000, &Room::default());
    let (mut old, mut new) = (upload.turn(), upload.turn());
    assert!(old.poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(all(&mut new).await.unwrap().len(), 1000);
    assert!(!old.is_end());
}

#[tokio::test]
async fn what_an_answer_overtakes_is_given_again_to_its_end() {
    let room = Room::default();
    let before = room.free();
    let (upload, _) = upload(1000, 1000, &room);
    all(&mut upload.turn()).await.unwrap();
    let mut again = upload.turn();
    upload.forget();
    assert_eq!(all(&mut again).await.unwrap().len(), 1000);
    drop((upload, again));
    assert_eq!(room.free(), before);
}

#[tokio::test]
async fn the_rest_is_what_did_not_come_yet() {
    let (upload, _) = upload(1000, 1000, &Room::default());
    all(&mut upload.turn()).await.unwrap();
    assert_eq!(all(&mut upload.rest()).await.unwrap(), b"");
}
