//! Random members of a few groups, with crashes: one owner a generation, every request answered once, no member beyond its session,
//! and a load makes what was there.

use super::*;
use hayate_rt::random::Prng;
use kafka_protocol::messages::leave_group_request::MemberIdentity;

const GROUPS: [&str; 2] = ["g", "h"];
const SESSION_MS: u64 = 10_000;

/// What a client knows.
#[derive(Clone, Debug, Default)]
struct Client {
    instance: Option<String>,
    group: &'static str,
    member: String,
    joining: Option<Token>,
    syncing: Option<Token>,
    joined: Option<JoinGroupResponse>,
    last_heard_ms: u64,
}

struct Story {
    world: World,
    clients: Vec<Client>,
    /// Who was given what in which generation of which group.
    owners: BTreeMap<(&'static str, i32, u8), String>,
    fresh: u128,
    open: BTreeMap<Token, &'static str>,
    stable: u64,
}

impl Story {
    fn new() -> Story {
        let client = |number: usize| Client {
            instance: number.is_multiple_of(3).then(|| format!("i{number}")),
            group: GROUPS[number % GROUPS.len()],
            ..Client::default()
        };
        Story {
            world: World::new(GroupConfig::default()),
            clients: (0..6).map(client).collect(),
            owners: BTreeMap::new(),
            fresh: 0,
            open: BTreeMap::new(),
            stable: 0,
        }
    }

    fn ask(&mut self, what: &'static str, request: GroupRequest) -> Token {
        let token = self.world.ask(request);
        self.open.insert(token, what);
        token
    }

    fn act(&mut self, random: &mut Prng) {
        let number = random.below(self.clients.len() as u64) as usize;
        match random.below(16) {
            0..=4 => self.join(number),
            5..=8 => self.sync(number),
            9..=10 => self.beat(number),
            11 => self.leave(number),
            12 => {
                self.clients[number] = Client {
                    joined: None,
                    joining: None,
                    syncing: None,
                    member: String::new(),
                    ..self.clients[number].clone()
                }
            }
            13 if random.below(8) == 0 => self.crash(),
            _ => self.world.pass(Duration::from_millis(random.below(4_000))),
        }
        self.hear();
        self.check();
    }

    fn join(&mut self, number: usize) {
        self.fresh += 1;
        let client = self.clients[number].clone();
        let token =
            self.ask("join", join(client.group, &client.member, client.instance.as_deref(), self.fresh));
        self.clients[number].joining = Some(token);
        self.clients[number].syncing = None;
        self.clients[number].last_heard_ms = self.world.now_ms;
    }

    fn sync(&mut self, number: usize) {
        let client = self.clients[number].clone();
        let Some(joined) = &client.joined else { return };
        let token = self.ask("sync", sync(client.group, client.instance.as_deref(), joined));
        self.clients[number].syncing = Some(token);
        self.clients[number].last_heard_ms = self.world.now_ms;
    }

    fn beat(&mut self, number: usize) {
        let client = self.clients[number].clone();
        let Some(joined) = &client.joined else { return };
        self.ask("heartbeat", heartbeat(client.group, client.instance.as_deref(), joined));
        self.clients[number].last_heard_ms = self.world.now_ms;
    }

    fn leave(&mut self, number: usize) {
        let client = self.clients[number].clone();
        let leaving = MemberIdentity::default()
            .with_member_id(text(&client.member))
            .with_group_instance_id(client.instance.as_deref().map(text));
        let request =
            LeaveGroupRequest::default().with_group_id(group_id(client.group)).with_members(vec![leaving]);
        self.ask("leave", GroupRequest::Leave { request, version: 5 });
    }

    /// The coordinator is loaded anew: nobody hears the answers that were open.
    fn crash(&mut self) {
        self.world.groups = self.world.replayed();
        self.world.step(|groups, moment, effects| groups.loaded(moment, effects));
        self.open.clear();
        let now_ms = self.world.now_ms;
        for client in &mut self.clients {
            (client.joining, client.syncing, client.last_heard_ms) = (None, None, now_ms);
        }
    }

    fn hear(&mut self) {
        let answered: Vec<Token> =
            self.open.keys().filter(|token| self.world.answers.contains_key(token)).copied().collect();
        self.open.retain(|token, _| !answered.contains(token));
        for client in &mut self.clients {
            if let Some(answer) = client.joining.and_then(|token| self.world.joined(token)).cloned() {
                client.joining = None;
                match ResponseError::try_from_code(answer.error_code) {
                    None => (client.member, client.joined) = (answer.member_id.to_string(), Some(answer)),
                    Some(ResponseError::MemberIdRequired) => client.member = answer.member_id.to_string(),
                    Some(ResponseError::RebalanceInProgress) => {}
                    Some(_) => (client.member, client.joined) = (String::new(), None),
                }
            }
            let synced = client.syncing.and_then(|token| self.world.synced(token)).cloned();
            if let (Some(answer), Some(joined)) = (synced, &client.joined) {
                client.syncing = None;
                if answer.error_code == 0 && !answer.assignment.is_empty() {
                    self.stable += 1;
                    let owned = (client.group, joined.generation_id, answer.assignment[0]);
                    // A static member goes by its instance: it may have come back under another id.
                    let name = client.instance.clone().unwrap_or_else(|| client.member.clone());
                    let owner = self.owners.entry(owned).or_insert_with(|| name.clone());
                    assert_eq!(*owner, name, "{owned:?} has one owner");
                }
            }
        }
    }

    fn check(&mut self) {
        let replayed = self.world.replayed();
        for group in GROUPS {
            let described = self.world.groups.describe(group, 6);
            if matches!(described.group_state.as_str(), "Stable" | "Empty") {
                assert_eq!(described, replayed.describe(group, 6), "a load makes what was there");
            }
        }
    }

    /// Everybody falls silent: every request is answered, and no member is left.
    fn end(&mut self) {
        self.world.pass(Duration::from_millis(40 * SESSION_MS));
        self.hear();
        assert!(self.open.is_empty(), "never answered: {:?}", self.open);
        for group in GROUPS {
            let described = self.world.groups.describe(group, 6);
            assert!(described.members.is_empty(), "beyond its session: {described:?}");
        }
    }
}

#[test]
fn random_members_share_a_group_as_they_should() {
    let mut stable = 0;
    for seed in 0..300 {
        let mut random = Prng::new(seed);
        let mut story = Story::new();
        for _ in 0..200 {
            story.act(&mut random);
        }
        story.end();
        stable += story.stable;
    }
    assert!(stable > 1_000, "assignments were reached {stable} times");
}
