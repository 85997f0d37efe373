use std::sync::{Barrier, atomic::AtomicU64};

use futures_util::FutureExt;

use super::*;

fn local() -> Requester {
    Requester::local()
}

fn cheap() -> PasswordHasher {
    PasswordHasher::new(HashCost::CHEAPEST, 2, 100).unwrap()
}

#[tokio::test]
async fn verify_accepts_the_hashed_password_only() {
    let passwords = cheap();
    let hash = passwords.hash("correct horse".into(), &local()).await.unwrap();
    assert!(hash.0.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.0);
    assert_eq!(
        passwords.verify("correct horse".into(), Some(hash.clone()), &local()).await.unwrap(),
        PasswordCheck::Valid
    );
    assert_eq!(
        passwords.verify("correct hors".into(), Some(hash), &local()).await.unwrap(),
        PasswordCheck::Invalid
    );
}

#[tokio::test]
async fn verify_without_a_hash_is_invalid() {
    assert_eq!(cheap().verify("anything".into(), None, &local()).await.unwrap(), PasswordCheck::Invalid);
}

#[tokio::test]
async fn verify_reports_hashes_of_older_kinds_as_outdated() {
    let passwords = cheap();
    for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
        let old = bcrypt::hash_with_result("secret word", 4).unwrap().format_for_version(version);
        let old = PasswordHash(old);
        assert_eq!(
            passwords.verify("secret word".into(), Some(old.clone()), &local()).await.unwrap(),
            PasswordCheck::ValidButOutdated
        );
        assert_eq!(
            passwords.verify("secret wort".into(), Some(old), &local()).await.unwrap(),
            PasswordCheck::Invalid
        );
    }
    let weaker = PasswordHasher::new(HashCost { memory_kib: 16, passes: 1 }, 1, 10).unwrap();
    let hash = weaker.hash("secret word".into(), &local()).await.unwrap();
    assert_eq!(
        passwords.verify("secret word".into(), Some(hash), &local()).await.unwrap(),
        PasswordCheck::ValidButOutdated
    );
}

#[tokio::test]
async fn failed_comparison_takes_the_same_time_for_every_kind_of_hash() {
    let passwords = cheap();
    let own = passwords.hash("secret word".into(), &local()).await.unwrap();
    let [fast, slow] = [4, 9].map(|cost| PasswordHash(bcrypt::hash("secret word", cost).unwrap()));
    let malformed = PasswordHash("$2b$09$malformed".into());
    let kinds = [None, Some(own), Some(fast), Some(slow), Some(malformed)];
    let time = async |hash: &Option<PasswordHash>, password: &str| {
        let mut times = Vec::new();
        for _ in 0..7 {
            let start = Instant::now();
            let check = passwords.verify(password.into(), hash.clone(), &local()).await.unwrap();
            assert_eq!(check, PasswordCheck::Invalid);
            times.push(start.elapsed());
        }
        times.sort_unstable();
        times[times.len() / 2]
    };
    for hash in &kinds {
        time(hash, "wrong").await;
    }
    for password in ["wrong", "wröng", "wro\u{308}ng"] {
        let mut times = Vec::new();
        for hash in &kinds {
            times.push(time(hash, password).await);
        }
        let (shortest, longest) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        assert!(shortest * 3 / 2 > longest, "{password}: {times:?}");
    }
}

#[tokio::test]
async fn failed_comparisons_are_not_prolonged_if_there_is_one_kind_of_hash() {
    let passwords = cheap();
    let own = passwords.hash("secret word".into(), &local()).await.unwrap();
    passwords.verify("wrong".into(), Some(own), &local()).await.unwrap();
    passwords.verify("wrong".into(), None, &local()).await.unwrap();
    assert_eq!(passwords.0.times.padded(), Duration::ZERO);
}

#[tokio::test]
async fn verify_rejects_a_malformed_hash() {
    for malformed in
        ["", "plain", "$2b$", "$argon2id$v=19$m=8,t=1,p=1$", "$scrypt$ln=1,r=1,p=1$c2FsdA$aGFzaA"]
    {
        let verdict =
            cheap().verify("plain".into(), Some(PasswordHash(malformed.into())), &local()).await.unwrap();
        assert_eq!(verdict, PasswordCheck::Invalid, "{malformed}");
    }
}

#[tokio::test]
async fn verify_accepts_every_encoding_of_the_same_characters() {
    let passwords = cheap();
    for spellings in [
        &["pässwört", "pa\u{308}sswo\u{308}rt"][..],
        &["ﬁvefish", "fivefish", "ｆｉｖｅｆｉｓｈ"],
        &[
            "오늘은 비밀",
            "\u{110b}\u{1169}\u{1102}\u{1173}\u{11af}\u{110b}\u{1173}\u{11ab}\u{a0}\u{1107}\u{1175}\u{1106}\u{1175}\u{11af}",
        ],
        &["two words", "two\u{3000}words", "two\u{1680}words", "two\u{2003}words"],
    ] {
        for registered in spellings {
            let hash = passwords.hash((*registered).into(), &local()).await.unwrap();
            for entered in spellings {
                let check = passwords.verify((*entered).into(), Some(hash.clone()), &local()).await.unwrap();
                assert_eq!(check, PasswordCheck::Valid, "{registered:?} {entered:?}");
            }
        }
    }
    let hash = passwords.hash("pässwört".into(), &local()).await.unwrap();
    for other in ["passwort", "Pässwört", "pässwört ", "pass\u{200b}wört"] {
        let check = passwords.verify(other.into(), Some(hash.clone()), &local()).await.unwrap();
        assert_eq!(check, PasswordCheck::Invalid, "{other:?}");
    }
}

#[tokio::test]
async fn verify_accepts_the_password_of_a_hash_that_was_not_normalized() {
    let passwords = cheap();
    for encoding in ["pa\u{308}sswo\u{308}rt", "ｆｉｖｅｆｉｓｈ"] {
        let params = &passwords.0.params;
        let argon2 = hash(params, encoding, [7; 16], &mut Vec::new()).unwrap();
        let bcrypt = PasswordHash(bcrypt::hash(encoding, 4).unwrap());
        for old in [argon2, bcrypt] {
            let check = passwords.verify(encoding.into(), Some(old.clone()), &local()).await.unwrap();
            assert_eq!(check, PasswordCheck::ValidButOutdated, "{encoding:?}");
            let check = passwords.verify("another one".into(), Some(old), &local()).await.unwrap();
            assert_eq!(check, PasswordCheck::Invalid);
        }
    }
}

#[tokio::test]
async fn a_panic_does_not_end_the_hashing_thread() {
    let passwords = PasswordHasher::new(HashCost::CHEAPEST, 1, 10).unwrap();
    let failed: Result<()> = passwords.run(&local(), |_, _| panic!("it is broken")).await;
    assert_eq!(failed.unwrap_err().code(), "unavailable");
    assert!(passwords.hash("anything".into(), &local()).await.is_ok());
}

#[tokio::test]
async fn hash_fails_if_the_queue_is_full() {
    let passwords = PasswordHasher::new(HashCost::CHEAPEST, 1, 0).unwrap();
    assert_eq!(passwords.hash("anything".into(), &local()).await.unwrap_err().code(), "overloaded");
}

/// A pool of one thread, which waits at the barrier. Further jobs wait until then.
async fn blocked() -> (PasswordHasher, Arc<Barrier>) {
    let passwords = PasswordHasher::new(HashCost::CHEAPEST, 1, 200).unwrap();
    let (started, barrier) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (blocking, until, at) = (passwords.clone(), barrier.clone(), started.clone());
    tokio::spawn(async move {
        let block = move |_: &Pool, _: &mut Vec<Block>| {
            at.wait();
            until.wait();
            Ok(())
        };
        blocking.run(&local(), block).await
    });
    tokio::task::yield_now().await;
    started.wait();
    (passwords, barrier)
}

#[tokio::test]
async fn address_with_many_requests_delays_another_by_one_hash() {
    let (passwords, barrier) = blocked().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let request = |name: &'static str, address: [u8; 4]| {
        let (passwords, order) = (passwords.clone(), order.clone());
        let requester = Requester { address: address.into(), ..Requester::local() };
        async move {
            passwords
                .run(&requester, move |_, _| {
                    order.lock().unwrap().push(name);
                    Ok(())
                })
                .await
        }
    };
    let mut many: Vec<_> = (0..290).map(|_| Box::pin(request("many", [192, 0, 2, 1]))).collect();
    let refused = many.iter_mut().filter_map(FutureExt::now_or_never).filter(Result::is_err).count();
    assert_eq!((refused, passwords.skipped().refused), (270, 270));
    let mut one = Box::pin(request("one", [192, 0, 2, 2]));
    assert!(one.as_mut().now_or_never().is_none(), "it is not refused");
    barrier.wait();
    assert!(one.await.is_ok());
    assert_eq!(order.lock().unwrap()[..2], ["many", "one"]);
}

#[tokio::test]
async fn hashes_are_skipped_if_the_client_is_gone() {
    let (passwords, barrier) = blocked().await;
    let ran = Arc::new(AtomicU64::new(0));
    let request = |requester: Requester| {
        let (passwords, ran) = (passwords.clone(), ran.clone());
        Box::pin(async move {
            let work = move |_: &Pool, _: &mut Vec<Block>| Ok(ran.fetch_add(1, Ordering::Relaxed));
            passwords.run(&requester, work).await
        })
    };
    let answered = local();
    let (mut dropped, mut cancelled, mut waiting) =
        (request(local()), request(answered.clone()), request(local()));
    for future in [&mut dropped, &mut cancelled, &mut waiting] {
        assert!(future.as_mut().now_or_never().is_none());
    }
    drop(dropped);
    answered.gone.cancel();
    barrier.wait();
    assert!(waiting.await.is_ok() && cancelled.await.is_err());
    assert_eq!((ran.load(Ordering::Relaxed), passwords.skipped().abandoned), (1, 2));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn hashing_threads_yield_to_this_process_but_are_not_idle() {
    const SCHED_OTHER: u32 = 0;
    let own = rustix::process::getpriority_process(None).unwrap();
    let state = |_: &Pool, _: &mut Vec<Block>| {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let policy: u32 = fields.clone().nth(38).unwrap().parse().unwrap();
        Ok((policy, rustix::process::getpriority_process(None).unwrap()))
    };
    assert_eq!(cheap().run(&local(), state).await, Ok((SCHED_OTHER, (own + NICENESS).min(19))));
}
