//! HTTP/2 at the wire (RFC 9113 and 7541), both ends of the router: what it does with frames, streams, windows and
//! heads that are right, wrong or sent to do harm. Where the standard allows several reactions, so do these tests.

mod abuse;
mod begin;
mod blocks;
mod flow;
mod frames;
mod hasty;
mod heads;
mod memory;
mod noise;
mod origin;
mod origin_flow;
mod origin_stage;
mod origin_streams;
mod stage;
mod streams;
mod talk;
mod windows;
