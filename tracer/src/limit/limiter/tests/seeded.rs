//! Volumes that a reading of the mount tables tells.

use super::*;

#[test]
fn a_volume_that_was_there_before_is_one_like_others() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    let seed = operation(EffectKind::Attach, "pvc-1").effects.unwrap().remove(0).mount;
    let orders = limiter.seeded(&seed, 7);
    assert!(matches!(&orders[..], [Order::Inspect { dev: DISK, .. }]), "{orders:?}");
    assert!(limiter.seeded(&seed, 8).is_empty(), "its table is read again");
    assert_eq!(limiter.uses().count(), 1);
    let elsewhere = Mount { namespace: Some(Namespace { inum: 2, id: 2 }), ..mount(6) };
    assert!(limiter.seeded(&Mount { path: seed.path.clone(), ..elsewhere }, 9).is_empty(), "a look-alike");
    // Another volume got its number while nobody looked.
    let other = Mount { path: Ok(path("pvc-2").into_bytes()), ..seed };
    let orders = limiter.seeded(&other, 10);
    assert!(matches!(&orders[..], [Order::Close(_), Order::Inspect { .. }]), "{orders:?}");
    assert_eq!(limiter.uses().map(|sighting| sighting.volume.as_str()).collect::<Vec<_>>(), ["pvc-2"]);
}
