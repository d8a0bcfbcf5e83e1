//! Which events an epoch of the classifier goes over.

use super::*;

const CONFIG: ClassifierConfig = ClassifierConfig {
    epochs: 1,
    learning_rate: 1e-3,
    batch_size: 4,
    balance: Balance::Sampled,
    seed: 3,
};

#[test]
fn a_sampled_epoch_has_all_positives_and_as_many_new_negatives() {
    let class: Vec<u32> = (0..100).map(|event| u32::from(event % 10 == 7)).collect();
    let epoch = |number| epoch_events(&class, 2, &CONFIG, number);
    let (first, second) = (epoch(1), epoch(2));
    assert_eq!(first, epoch(1));
    let split = |events: &[usize]| -> (Vec<usize>, Vec<usize>) {
        let mut sorted = events.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 20, "each event once");
        sorted.into_iter().partition(|event| event % 10 == 7)
    };
    assert_eq!(split(&first).0.len(), 10);
    assert_eq!(split(&first).0, split(&second).0);
    assert_ne!(split(&first).1, split(&second).1);
    let more_positives = epoch_events(&[1, 1, 0, 1], 2, &CONFIG, 1);
    assert_eq!(more_positives.len(), 4);
}

#[test]
fn a_whole_epoch_is_a_permutation() {
    let config = ClassifierConfig {
        balance: Balance::All,
        ..CONFIG
    };
    let mut events = epoch_events(&[0; 50], 2, &config, 1);
    assert_ne!(events, (0..50).collect::<Vec<_>>());
    events.sort_unstable();
    assert_eq!(events, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_sampled_epoch_of_several_classes_has_as_many_of_each() {
    let class: Vec<u32> = (0..100).map(|event| [0, 0, 1, 3][event % 4]).collect();
    let mut events = epoch_events(&class, 4, &CONFIG, 1);
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), 75, "each event once");
    for of in [0, 1, 3] {
        let events = events.iter().filter(|event| class[**event] == of);
        assert_eq!(events.count(), 25);
    }
}
