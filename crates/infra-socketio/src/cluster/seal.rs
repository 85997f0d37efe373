//! Authenticates messages between processes, so that others who reach Redis can neither forge nor repeat one.
//!
//! They can still read messages, which contain ids and counts, and withhold them. A process cannot know what was sent
//! before it started: an old message of a process that it has never heard of is accepted once. Such a message signals new
//! notifications, which causes a read, or a change of old ones; or it names connections that are older than all present
//! ones.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{cluster::message::ClusterMessage, config::SocketConfig};

/// Length of the HMAC in front of each message.
const TAG_BYTES: usize = 32;

/// What is published, after its HMAC.
#[derive(Serialize, Deserialize)]
struct Envelope<M> {
    /// The sending process, which ignores its own messages.
    sender: String,
    /// Larger than that of the sender's message before.
    number: u64,
    message: M,
}

/// HMAC-SHA-256 of messages on one channel.
#[derive(Clone)]
pub(crate) struct Seal(Hmac<Sha256>);

impl Seal {
    pub(crate) fn new(config: &SocketConfig) -> Self {
        // HMAC accepts keys of any length.
        let mut mac = Hmac::new_from_slice(&config.redis_key).unwrap_or_else(|_| unreachable!());
        // With its length, so that no message of one channel fits another one.
        mac.update(&(config.redis_channel.len() as u64).to_le_bytes());
        mac.update(config.redis_channel.as_bytes());
        Self(mac)
    }

    /// Returns the message as it is published.
    pub(crate) fn seal(
        &self,
        sender: &str,
        number: u64,
        message: &ClusterMessage,
    ) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec(&Envelope { sender: sender.to_owned(), number, message })?;
        let tag = self.0.clone().chain_update(&body).finalize().into_bytes();
        Ok([&tag[..], &body].concat())
    }

    fn open(&self, published: &[u8]) -> Option<Envelope<ClusterMessage>> {
        let (tag, body) = published.split_at_checked(TAG_BYTES)?;
        self.0.clone().chain_update(body).verify_slice(tag).ok()?;
        serde_json::from_slice(body).ok()
    }
}

/// Opens the messages of other processes.
pub(crate) struct SealedReceiver {
    seal: Seal,
    own_name: String,
    /// The number of the last message of each process. It has an entry for every start of a process.
    last_numbers: Mutex<HashMap<String, u64>>,
}

/// What was published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message of another process, with its name.
    Message(String, ClusterMessage),
    /// A message of this process.
    Own,
    /// Not made with the key for this channel, or a repetition.
    Rejected,
}

impl SealedReceiver {
    pub(crate) fn new(seal: Seal, own_name: String) -> Self {
        Self { seal, own_name, last_numbers: Mutex::default() }
    }

    pub(crate) fn receive(&self, published: &[u8]) -> Received {
        let Some(Envelope { sender, number, message }) = self.seal.open(published) else {
            return Received::Rejected;
        };
        if sender == self.own_name {
            return Received::Own;
        }
        let mut numbers = self.last_numbers.lock().unwrap_or_else(PoisonError::into_inner);
        match numbers.get_mut(&sender) {
            Some(last) if number <= *last => return Received::Rejected,
            Some(last) => *last = number,
            None => drop(numbers.insert(sender.clone(), number)),
        }
        Received::Message(sender, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: u8, channel: &str) -> Seal {
        let redis_channel = channel.to_owned();
        Seal::new(&SocketConfig { redis_key: [key; 32], redis_channel, ..SocketConfig::default() })
    }

    fn sealed(number: u64) -> Vec<u8> {
        seal(1, "live").seal("other", number, &ClusterMessage::CatchUp).unwrap()
    }

    fn receiver() -> SealedReceiver {
        SealedReceiver::new(seal(1, "live"), "own".into())
    }

    #[test]
    fn altered_messages_and_those_of_other_keys_and_channels_are_rejected() {
        let receiver = receiver();
        for (key, channel) in [(2, "live"), (1, "liv"), (1, "live2")] {
            let message = seal(key, channel).seal("other", 1, &ClusterMessage::CatchUp).unwrap();
            assert_eq!(receiver.receive(&message), Received::Rejected, "{key} {channel}");
        }
        let message = sealed(1);
        for at in 0..message.len() {
            let mut altered = message.clone();
            altered[at] ^= 1;
            assert_eq!(receiver.receive(&altered), Received::Rejected, "{at}");
            assert_eq!(receiver.receive(&message[..at]), Received::Rejected, "{at}");
        }
        assert_eq!(receiver.receive(&message), Received::Message("other".into(), ClusterMessage::CatchUp));
    }

    #[test]
    fn messages_are_accepted_once_and_in_their_order() {
        let receiver = receiver();
        let is_accepted = |number| matches!(receiver.receive(&sealed(number)), Received::Message(..));
        assert_eq!([5, 5, 4, 9, 9].map(is_accepted), [true, false, false, true, false]);
        let own = seal(1, "live").seal("own", 1, &ClusterMessage::CatchUp).unwrap();
        assert_eq!([receiver.receive(&own), receiver.receive(&own)], [Received::Own, Received::Own]);
    }
}
