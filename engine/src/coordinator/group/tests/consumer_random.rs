//! Random members of both protocols in one group, with topics that come and grow, crashes and silence: a partition has one owner, a load
//! makes what was there, every request is answered, and once all is quiet everybody has a part.

use super::consumer::{alive, joining, topic_id, world};
use super::*;
use crate::coordinator::assignor::Partitions;
use hayate_rt::random::Prng;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use std::collections::BTreeSet;

const SESSION_MS: u64 = 45_000;
const TOPICS: [&str; 3] = ["t", "u", "v"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Protocol {
    Consumer,
    Classic,
}

/// What a client knows.
#[derive(Clone, Debug)]
struct Client {
    protocol: Protocol,
    instance: Option<String>,
    member: String,
    /// 0: it is not in.
    epoch: i32,
    has: Partitions,
    topics: Vec<&'static str>,
    last_heard_ms: u64,
    joining: Option<Token>,
    joined: Option<JoinGroupResponse>,
    syncing: Option<Token>,
}

impl Client {
    fn new(number: usize) -> Client {
        Client {
            protocol: if number.is_multiple_of(3) { Protocol::Classic } else { Protocol::Consumer },
            instance: number.is_multiple_of(4).then(|| format!("i{number}")),
            member: String::new(),
            epoch: 0,
            has: Partitions::new(),
            topics: vec!["t"],
            last_heard_ms: 0,
            joining: None,
            joined: None,
            syncing: None,
        }
    }

    fn drop_out(&mut self) {
        self.epoch = 0;
        self.has.clear();
        (self.joining, self.joined, self.syncing) = (None, None, None);
    }
}

struct Story {
    world: World,
    clients: Vec<Client>,
    fresh: u128,
    full: u64,
    acts: u64,
}

impl Story {
    fn new() -> Story {
        let mut world = world();
        world.topic("u", 2);
        Story { world, clients: (0..5).map(Client::new).collect(), fresh: 0, full: 0, acts: 0 }
    }

    fn fresh_id(&mut self) -> String {
        self.fresh += 1;
        format!("m{}", self.fresh)
    }

    fn act(&mut self, random: &mut Prng) {
        let number = random.below(self.clients.len() as u64) as usize;
        match random.below(20) {
            0..=11 => self.beat(number),
            12 => self.leave(number),
            13 => {
                // It restarts, perhaps with the other protocol, and forgets all.
                self.clients[number].drop_out();
                self.clients[number].member.clear();
                if random.below(3) == 0 {
                    let other = match self.clients[number].protocol {
                        Protocol::Classic => Protocol::Consumer,
                        Protocol::Consumer => Protocol::Classic,
                    };
                    self.clients[number].protocol = other;
                }
            }
            14 => {
                let count = 1 + random.below(TOPICS.len() as u64) as usize;
                self.clients[number].topics = TOPICS[..count].to_vec();
            }
            15 if random.below(4) == 0 => {
                let name = TOPICS[random.below(3) as usize];
                let count = self.world.image.topic(name).map_or(0, |topic| topic.partitions.len());
                self.world.topic(name, (count as i32 + 1).min(8));
            }
            16 if random.below(6) == 0 => self.crash(),
            17 if random.below(6) == 0 => self.world.pass(Duration::from_millis(random.below(60_000))),
            _ => self.world.pass(Duration::from_millis(random.below(2_000))),
        }
        self.hear();
        self.check();
    }

    fn beat(&mut self, number: usize) {
        match self.clients[number].protocol {
            Protocol::Consumer => self.beat_consumer(number),
            Protocol::Classic => self.beat_classic(number),
        }
    }

    fn beat_consumer(&mut self, number: usize) {
        if self.clients[number].member.is_empty() {
            self.clients[number].member = self.fresh_id();
        }
        let client = self.clients[number].clone();
        let owned = client.has.iter().map(|(topic, numbers)| {
            TopicPartitions::default()
                .with_topic_id(*topic)
                .with_partitions(numbers.iter().copied().collect())
        });
        let names = client.topics.iter().map(|name| TopicName(text(name))).collect();
        let request = match client.epoch {
            0 => joining(&client.member, &client.topics),
            epoch => alive(&client.member, epoch)
                .with_topic_partitions(Some(owned.collect()))
                .with_subscribed_topic_names(Some(names)),
        };
        let response = self.world.beat(request.with_instance_id(client.instance.as_deref().map(text)));
        let client = &mut self.clients[number];
        client.last_heard_ms = self.world.now_ms;
        match ResponseError::try_from_code(response.error_code) {
            None => {
                client.epoch = response.member_epoch;
                if let Some(assignment) = response.assignment {
                    let told = assignment.topic_partitions.into_iter();
                    client.has = told
                        .map(|topic| {
                            (topic.topic_id, topic.partitions.into_iter().collect::<BTreeSet<i32>>())
                        })
                        .collect();
                }
            }
            Some(ResponseError::UnreleasedInstanceId | ResponseError::GroupIdNotFound) => client.drop_out(),
            Some(ResponseError::FencedInstanceId) => {
                client.drop_out();
                client.member.clear();
            }
            Some(ResponseError::FencedMemberEpoch | ResponseError::UnknownMemberId) => client.drop_out(),
            Some(other) => panic!("{other:?} {:?}", response.error_message),
        }
    }

    fn beat_classic(&mut self, number: usize) {
        let client = self.clients[number].clone();
        self.clients[number].last_heard_ms = self.world.now_ms;
        if client.joining.is_some() || client.syncing.is_some() {
            return;
        }
        let Some(joined) = client.joined else { return self.join_classic(number) };
        if client.epoch == 0 {
            let mut request = sync("g", client.instance.as_deref(), &joined);
            if let GroupRequest::Sync { request, .. } = &mut request {
                for assignment in &mut request.assignments {
                    assignment.assignment = Bytes::from_static(b"\0\x01\0\0\0\0\xff\xff\xff\xff");
                }
            }
            self.clients[number].syncing = Some(self.world.ask(request));
            return;
        }
        let token = self.world.ask(heartbeat("g", client.instance.as_deref(), &joined));
        let GroupAnswer::Heartbeat(response) = &self.world.answers[&token] else { panic!("a heartbeat") };
        match ResponseError::try_from_code(response.error_code) {
            None => {}
            Some(ResponseError::RebalanceInProgress) => self.clients[number].joined = None,
            Some(_) => {
                self.clients[number].drop_out();
                self.clients[number].member.clear();
            }
        }
    }

    /// It tells what it has, as cooperative consumers do; but where it leads it assigns nothing.
    fn join_classic(&mut self, number: usize) {
        self.fresh += 1;
        let client = &self.clients[number];
        let mut bytes = b"\0\x01".to_vec();
        bytes.extend((client.topics.len() as i32).to_be_bytes());
        client.topics.iter().for_each(|name| bytes.extend([0, 1, name.as_bytes()[0]]));
        bytes.extend((-1i32).to_be_bytes());
        let named = client
            .has
            .iter()
            .filter_map(|(id, numbers)| Some((TOPICS.iter().find(|name| topic_id(name) == *id)?, numbers)));
        let named: Vec<_> = named.collect();
        bytes.extend((named.len() as i32).to_be_bytes());
        for (name, numbers) in named {
            bytes.extend([0, 1, name.as_bytes()[0]]);
            bytes.extend((numbers.len() as i32).to_be_bytes());
            numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
        }
        let mut request = join("g", &client.member, client.instance.as_deref(), self.fresh);
        if let GroupRequest::Join { request, .. } = &mut request {
            request.protocols[0].metadata = Bytes::from(bytes);
        }
        self.clients[number].joining = Some(self.world.ask(request));
    }

    fn leave(&mut self, number: usize) {
        let client = self.clients[number].clone();
        if client.member.is_empty() {
            return;
        }
        match client.protocol {
            Protocol::Consumer => {
                let instance = client.instance.as_deref().map(text);
                let epoch = if instance.is_some() { -2 } else { -1 };
                self.world.beat(alive(&client.member, epoch).with_instance_id(instance));
            }
            Protocol::Classic => {
                let leaving = MemberIdentity::default()
                    .with_member_id(text(&client.member))
                    .with_group_instance_id(client.instance.as_deref().map(text));
                let request =
                    LeaveGroupRequest::default().with_group_id(group_id("g")).with_members(vec![leaving]);
                self.world.ask(GroupRequest::Leave { request, version: 5 });
            }
        }
        self.clients[number].drop_out();
        self.clients[number].member.clear();
    }

    /// The coordinator is loaded anew: nobody hears the answers that were open.
    fn crash(&mut self) {
        self.world.groups = self.world.replayed();
        self.world.step(|groups, moment, effects| groups.loaded(moment, effects));
        for client in &mut self.clients {
            if client.joining.is_some() || client.syncing.is_some() {
                client.drop_out();
                client.member.clear();
            }
        }
    }

    fn hear(&mut self) {
        for client in &mut self.clients {
            if let Some(answer) = client.joining.and_then(|token| self.world.joined(token)).cloned() {
                client.joining = None;
                match ResponseError::try_from_code(answer.error_code) {
                    None => {
                        client.member = answer.member_id.to_string();
                        (client.joined, client.epoch) = (Some(answer), 0);
                    }
                    Some(ResponseError::MemberIdRequired) => client.member = answer.member_id.to_string(),
                    Some(ResponseError::RebalanceInProgress) => {}
                    Some(_) => {
                        client.drop_out();
                        client.member.clear();
                    }
                }
            }
            if let Some(answer) = client.syncing.and_then(|token| self.world.synced(token)).cloned() {
                client.syncing = None;
                match ResponseError::try_from_code(answer.error_code) {
                    None => {
                        client.epoch = client.joined.as_ref().map_or(0, |joined| joined.generation_id);
                        let named = subscription::assigned(&answer.assignment).into_iter();
                        let held = named.filter(|(_, numbers)| !numbers.is_empty());
                        client.has = held
                            .map(|(name, numbers)| (topic_id(&name), numbers.into_iter().collect()))
                            .collect();
                    }
                    Some(ResponseError::RebalanceInProgress) => client.joined = None,
                    Some(_) => {
                        client.drop_out();
                        client.member.clear();
                    }
                }
            }
        }
    }

    fn check(&mut self) {
        let Some(group) = self.world.groups.consumer("g") else { return };
        let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for member in group.members.values() {
            for (topic, numbers) in member.assigned.iter().chain(member.revoking.iter()) {
                for number in numbers {
                    let before = owners.insert((*topic, *number), &member.id);
                    assert!(before.is_none(), "{topic} {number} has two owners: {before:?} {}", member.id);
                }
            }
            assert!(member.epoch <= group.epoch && group.target_epoch <= group.epoch);
        }
        let session_ms = |client: &Client| match client.protocol {
            Protocol::Consumer => SESSION_MS,
            Protocol::Classic => 10_000,
        };
        // What clients take for theirs, as long as they are not lost, is theirs alone.
        let mut had: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| group.members.contains_key(client.member.as_str()))
        {
            if self.world.now_ms > client.last_heard_ms + session_ms(client) || client.epoch == 0 {
                continue;
            }
            for (topic, numbers) in &client.has {
                for number in numbers {
                    let before = had.insert((*topic, *number), &client.member);
                    assert!(before.is_none(), "{topic} {number}: {before:?} and {}", client.member);
                    assert_eq!(owners.get(&(*topic, *number)), Some(&client.member.as_str()));
                }
            }
        }
        self.acts += 1;
        if self.acts.is_multiple_of(5) {
            self.world.check_replay();
        }
    }

    /// Nobody comes or goes any more: everybody comes to its part, and nothing is left over.
    fn settle(&mut self) {
        for number in 0..self.clients.len() {
            if self.clients[number].protocol == Protocol::Classic {
                self.leave(number);
            }
        }
        for _ in 0..30 {
            for number in 0..self.clients.len() {
                if self.clients[number].protocol == Protocol::Consumer {
                    self.beat_consumer(number);
                }
            }
            self.hear();
            self.check();
            self.world.pass(Duration::from_secs(3));
        }
        let Some(group) = self.world.groups.consumer("g").filter(|group| !group.members.is_empty()) else {
            return;
        };
        assert_eq!(group.state().name(), "Stable");
        let subscribed: BTreeSet<&str> =
            group.members.values().flat_map(|member| member.topics.iter().map(|name| &**name)).collect();
        let topics = subscribed.into_iter().filter_map(|name| self.world.image.topic(name));
        let all: usize = topics.map(|topic| topic.partitions.len()).sum();
        let held = group.members.values().flat_map(|member| member.assigned.values());
        assert_eq!(held.map(BTreeSet::len).sum::<usize>(), all);
        self.full += 1;
    }
}

#[test]
fn random_members_of_both_protocols_share_a_group_as_they_should() {
    let mut full = 0;
    for seed in 0..150 {
        let mut random = Prng::new(seed);
        let mut story = Story::new();
        for _ in 0..150 {
            story.act(&mut random);
        }
        story.settle();
        full += story.full;
    }
    assert!(full > 40, "everything was shared out {full} times");
}
