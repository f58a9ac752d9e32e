//! The keys of every method, each with two or more values that must change the numbers of its small study (`lab`).

/// What of the record must differ. A knob that changes patch scores must do so there, not only in metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Differs {
    Patches,
    Images,
    Metrics,
    /// What is recorded of the epochs.
    Curve,
}
use Differs::{Curve, Images, Metrics, Patches};

/// One key: the settings around it, the values it takes (no two of which may give the same numbers), what differs.
pub type Knob = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str], Differs);

pub const SEEN: (&str, &str) = ("protocol.seen.count", "2");
const PROJECTED: &[(&str, &str)] = &[("method.bank.normal.projection", "8")];
const NO_OUTLIERS: (&str, &str) = ("method.bank.outlier.enabled", "false");
const NO_SEEN_BANK: (&str, &str) = ("method.bank.seen.enabled", "false");
const IMAGE_ATTENTION: (&str, &str) = ("method.attention.mode", "\"image\"");
const TOKEN_ATTENTION: (&str, &str) = ("method.attention.mode", "\"token\"");
/// M_p is the whole abnormal bank, so that whatever changes it changes d_a.
const ONLY_CENTER: &[(&str, &str)] = &[SEEN, NO_OUTLIERS, NO_SEEN_BANK];

const DMAD_KNOBS: &[Knob] = &[
    ("bank.normal.ratio", &[], &["0.1", "0.2"], Patches),
    ("bank.normal.scope", &[], &["\"joint\"", "\"per_class\""], Patches),
    ("bank.normal.projection", &[], &["0", "8"], Patches),
    ("bank.normal.projection_kind", PROJECTED, &["\"uniform\"", "\"gaussian\""], Patches),
    ("bank.normal.selection", &[], &["\"approximate\"", "\"plain\""], Patches),
    ("bank.normal.starts", &[], &["1", "7"], Patches),
    ("bank.outlier.enabled", &[], &["true", "false"], Patches),
    ("bank.outlier.dataset", &[], &["\"textures\"", "\"textures_again\""], Patches),
    ("bank.outlier.images_per_category", &[], &["1", "2"], Patches),
    ("bank.outlier.beta", &[], &["0.6", "1.0", "0.0"], Patches),
    ("bank.outlier.ratio", &[], &["0.2", "0.4"], Patches),
    ("bank.seen.enabled", &[SEEN], &["true", "false"], Patches),
    ("bank.center.enabled", &[SEEN, NO_OUTLIERS], &["true", "false"], Patches),
    ("bank.center.std", ONLY_CENTER, &["0.01", "0.2"], Patches),
    ("bank.center.relative", ONLY_CENTER, &["false", "true"], Patches),
    (
        "bank.center.center",
        &[SEEN, NO_OUTLIERS, NO_SEEN_BANK, ("method.bank.center.clusters", "3")],
        &["\"global\"", "\"per_class\"", "\"kmeans\""],
        Patches,
    ),
    (
        "bank.center.clusters",
        &[SEEN, NO_OUTLIERS, NO_SEEN_BANK, ("method.bank.center.center", "\"kmeans\"")],
        &["2", "3"],
        Patches,
    ),
    ("bank.center.count_ratio", ONLY_CENTER, &["1.0", "0.3"], Patches),
    ("filter.enabled", &[SEEN], &["true", "false"], Patches),
    ("filter.resize", &[SEEN, ("method.filter.threshold", "0.1")], &["\"bilinear\"", "\"area\"", "\"max\""], Patches),
    ("filter.threshold", &[SEEN, ("method.filter.resize", "\"area\"")], &["0.0", "0.5"], Patches),
    // At this threshold some of the seen anomalies have no patch left, but not all.
    (
        "filter.on_empty",
        &[SEEN, ("method.filter.resize", "\"area\""), ("method.filter.threshold", "0.4")],
        &["\"nearest\"", "\"skip\"", "\"error\""],
        Patches,
    ),
    ("knowledge.distance", &[TOKEN_ATTENTION], &["true", "false"], Patches),
    ("knowledge.batch_norm", &[], &["\"on\"", "\"off\""], Patches),
    ("knowledge.missing_bank", &[NO_OUTLIERS], &["\"drop\"", "\"zero\""], Patches),
    ("attention.mode", &[], &["\"token\"", "\"image\"", "\"literal\"", "\"off\""], Patches),
    ("attention.scale", &[IMAGE_ATTENTION], &["\"none\"", "\"sqrt_c\""], Patches),
    ("attention.train", &[TOKEN_ATTENTION], &["true", "false"], Patches),
    ("neighbours.exclude_self", &[], &["false", "true"], Patches),
    ("neighbours.exclude_same_image", &[SEEN], &["false", "true"], Patches),
    ("projection.shared", &[], &["true", "false"], Patches),
    ("mlp.blocks", &[], &["1", "2", "3"], Patches),
    ("mlp.hidden", &[], &["8", "9"], Patches),
    ("mlp.optimizer", &[("method.train.weight_decay_mlp", "0.5")], &["\"adamw\"", "\"adam\""], Patches),
    ("noise.std", &[], &["0.1", "0.3"], Patches),
    ("noise.relative", &[], &["false", "true"], Patches),
    ("noise.where", &[], &["\"o\"", "\"q\""], Patches),
    ("noise.shared_blocks", &[], &["true", "false"], Patches),
    ("loss.margin", &[], &["0.5", "0.1"], Patches),
    ("loss.lambda1", &[], &["1.0", "0.5"], Patches),
    ("loss.lambda2", &[SEEN], &["15.0", "1.0"], Patches),
    ("train.epochs", &[], &["1", "2"], Patches),
    ("train.batch", &[], &["4", "3"], Patches),
    ("train.anomaly_batch", &[SEEN], &["4", "1"], Patches),
    ("train.patches_per_image", &[], &["0", "16"], Patches),
    ("train.lr_projection", &[], &["0.01", "0.001"], Patches),
    ("train.lr_mlp", &[], &["0.01", "0.001"], Patches),
    // The default decay times the default rate is less than an f32 can see beside 1.
    ("train.weight_decay_projection", &[], &["0.01", "0.5"], Patches),
    ("train.weight_decay_mlp", &[], &["0.0", "0.5"], Patches),
    (
        "train.select",
        &[("method.train.epochs", "4"), ("method.train.lr_mlp", "0.1")],
        &["\"last\"", "\"best_test\""],
        Patches,
    ),
    ("score.top_k", &[], &["5", "1"], Images),
    ("score.sigma", &[], &["1.0", "0.0", "4.0"], Metrics),
];

const PATCHCORE_KNOBS: &[Knob] = &[
    ("bank.normal.ratio", &[], &["0.1", "0.2"], Patches),
    ("bank.normal.scope", &[], &["\"joint\"", "\"per_class\""], Patches),
    ("bank.normal.projection", &[], &["0", "8"], Patches),
    ("bank.normal.projection_kind", PROJECTED, &["\"uniform\"", "\"gaussian\""], Patches),
    ("bank.normal.selection", &[], &["\"approximate\"", "\"plain\""], Patches),
    ("bank.normal.starts", &[], &["1", "7"], Patches),
    ("score.neighbours", &[], &["1", "3"], Patches),
    ("score.squared", &[], &["true", "false"], Patches),
    ("score.reweight", &[], &["0", "3"], Images),
    ("score.top_k", &[], &["1", "5"], Images),
    ("score.sigma", &[], &["1.0", "0.0", "4.0"], Metrics),
];

const SIMPLENET_KNOBS: &[Knob] = &[
    ("adaptor.layers", &[], &["0", "1", "2"], Patches),
    ("discriminator.blocks", &[], &["1", "2"], Patches),
    ("discriminator.hidden", &[], &["8", "9"], Patches),
    (
        "discriminator.optimizer",
        &[("method.train.weight_decay_discriminator", "0.5")],
        &["\"adamw\"", "\"adam\""],
        Patches,
    ),
    ("noise.std", &[], &["0.1", "0.3"], Patches),
    ("noise.mix", &[], &["1", "4"], Patches),
    ("loss.margin", &[], &["0.5", "0.1"], Patches),
    ("train.epochs", &[], &["1", "2"], Patches),
    ("train.batch", &[], &["4", "3"], Patches),
    ("train.drop_last", &[("method.train.batch", "3")], &["false", "true"], Patches),
    ("train.patches_per_image", &[], &["0", "16"], Patches),
    ("train.lr_adaptor", &[], &["0.01", "0.001"], Patches),
    ("train.lr_discriminator", &[], &["0.01", "0.001"], Patches),
    // The default decay times the default rate is less than an f32 can see beside 1.
    ("train.weight_decay_adaptor", &[], &["0.01", "0.5"], Patches),
    ("train.weight_decay_discriminator", &[], &["0.0", "0.5"], Patches),
    ("train.schedule", &[], &["\"constant\"", "\"cosine\""], Patches),
    ("train.schedule_floor", &[("method.train.schedule", "\"cosine\"")], &["0.4", "0.1"], Patches),
    (
        "train.select",
        &[("method.train.epochs", "8"), ("method.train.lr_discriminator", "0.3")],
        &["\"last\"", "\"best_test\""],
        Patches,
    ),
    ("train.curve", &[], &["false", "true"], Curve),
    ("score.image", &[], &["\"patches\"", "\"map\""], Images),
    ("score.top_k", &[], &["1", "5"], Images),
    ("score.sigma", &[], &["1.0", "0.0", "4.0"], Metrics),
];

const UNIAD_KNOBS: &[Knob] = &[
    ("network.hidden", &[], &["16", "8"], Patches),
    ("network.heads", &[], &["2", "4"], Patches),
    ("network.feed_forward", &[], &["16", "8"], Patches),
    ("network.encoder_layers", &[], &["1", "2"], Patches),
    ("network.decoder_layers", &[], &["1", "2"], Patches),
    ("network.dropout", &[], &["0.1", "0.0", "0.5"], Patches),
    ("mask.size", &[], &["1", "3", "5"], Patches),
    ("mask.encoder", &[], &["true", "false"], Patches),
    ("mask.decoder_memory", &[], &["true", "false"], Patches),
    ("mask.decoder_previous", &[], &["true", "false"], Patches),
    ("jitter.scale", &[], &["20.0", "0.0"], Patches),
    ("jitter.probability", &[("method.train.epochs", "6")], &["1.0", "0.5", "0.0"], Patches),
    ("train.epochs", &[], &["0", "1", "2"], Patches),
    ("train.batch", &[], &["4", "3"], Patches),
    ("train.lr", &[], &["0.01", "0.001", "0.0"], Patches),
    ("train.lr_drop_epoch", &[], &["0", "1"], Patches),
    ("train.lr_factor", &[("method.train.lr_drop_epoch", "1")], &["0.1", "0.5"], Patches),
    // The default decay times the default rate is less than an f32 can see beside 1.
    ("train.weight_decay", &[], &["0.0", "0.5"], Patches),
    ("train.clip", &[], &["0.1", "0.0"], Patches),
    (
        "train.select",
        &[("method.train.epochs", "4"), ("method.train.lr", "0.1")],
        &["\"last\"", "\"best_test\""],
        Patches,
    ),
    ("score.image", &[], &["\"max_pool\"", "\"mean\"", "\"std\""], Images),
    ("score.pool", &[], &["4", "16"], Images),
    ("score.align_corners", &[], &["true", "false"], Images),
    ("score.sigma", &[], &["1.0", "0.0", "4.0"], Metrics),
];

/// The tables by the names of the registry, in its order.
pub const METHOD_KNOBS: &[(&str, &[Knob])] =
    &[("dmad", DMAD_KNOBS), ("patchcore", PATCHCORE_KNOBS), ("simplenet", SIMPLENET_KNOBS), ("uniad", UNIAD_KNOBS)];
