//! DRA's parameters: every choice of paper and released code, and every choice they leave open, with its default
//! (docs/methods/dra.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::augment::{Changes, Cutting};

tables! {
    /// DRA (CVPR 2022, arXiv 2203.14506).
    Params {
        /// Backbone and heads.
        network: NetworkParams = NetworkParams::default(),
        /// Normal images that the residual head compares with.
        references: References = References::default(),
        /// Pseudo-anomalies made of normal images.
        pseudo: Pseudo = Pseudo::default(),
        /// Changes of every training image.
        augment: Changes = Changes { rotation: 180.0, flip: 0.0, colour: 0.0 },
        /// Deviation loss.
        loss: Loss = Loss::default(),
        /// Training.
        train: Train = Train::default(),
        /// From heads to image scores and maps.
        score: Score = Score::default(),
    }
}

words! {
    /// How images become smaller for the next scale.
    Pyramid {
        /// The nearest pixel (released code).
        Nearest,
        /// Bilinear without antialiasing, corners not aligned.
        Bilinear,
    }
    /// When there is a head for seen anomalies.
    SeenHead {
        /// Where some anomaly is seen.
        WhenSeen,
        /// Always: without seen anomalies it learns from normal images alone that everything is normal.
        Always,
    }
}

tables! {
    /// Backbone and heads. The backbone is that of `[backbone]` up to its deepest layer.
    NetworkParams {
        /// Scales of the image: full size, half, a quarter …; all pass the same network, and each head's scores are averaged.
        #[schemars(range(min = 1, max = 4))]
        scales: usize = 2,
        /// How images become smaller for the next scale.
        pyramid: Pyramid = Pyramid::Nearest,
        /// Share of positions whose mean is a head's score: the largest ones, at least one.
        #[schemars(range(min = 0.0, max = 1.0))]
        top_k: f64 = 0.1,
        /// Width of the hidden layer of the normality head.
        #[schemars(range(min = 1, max = 16384))]
        hidden: usize = 256,
        /// When there is a head for seen anomalies.
        seen: SeenHead = SeenHead::WhenSeen,
        /// The stem and so many blocks of the backbone keep weights and running statistics; 0 = all learns.
        #[schemars(range(max = 1000))]
        frozen_blocks: usize = 0,
    }
}

words! {
    /// Which images are references in training.
    TrainReferences {
        /// Drawn for every step, changed and mixed with pseudo-anomalies like training images (released code; the paper's appendix).
        RandomMixed,
        /// The same normal images in every step, unchanged (the paper's Eq. 6).
        Fixed,
    }
    /// Which images are references once training is over.
    TestReferences {
        /// Drawn once for all: normal images, unchanged.
        FixedClean,
        /// Drawn for every batch of tested images and mixed with pseudo-anomalies (released code): scores depend on the order.
        RandomMixed,
    }
    /// Whose normal images an image is compared with.
    ReferenceScope {
        /// Those of all classes together (released code).
        Any,
        /// Those of its own class, which then has to be known of a tested image. Labels the run.
        Class,
    }
}

tables! {
    /// Normal images that the residual head compares with.
    References {
        /// How many.
        #[schemars(range(min = 1, max = 1000))]
        count: usize = 5,
        /// Which ones in training.
        train: TrainReferences = TrainReferences::RandomMixed,
        /// Which ones afterwards.
        test: TestReferences = TestReferences::FixedClean,
        /// Whose.
        scope: ReferenceScope = ReferenceScope::Any,
    }
}

words! {
    /// What pseudo-anomalies are.
    PseudoSource {
        /// A piece of a normal image is pasted elsewhere in it.
        Cutmix,
        /// An image of another dataset.
        External,
    }
}

tables! {
    /// Pseudo-anomalies made of normal images.
    Pseudo {
        /// Chance that one stands where a normal image was drawn.
        #[schemars(range(min = 0.0, max = 1.0))]
        probability: f64 = 0.5,
        /// What they are.
        source: PseudoSource = PseudoSource::Cutmix,
        /// `external`: the dataset whose images they are.
        dataset: String = "dtd".into(),
        /// `cutmix`: which pieces are cut.
        cut: Cutting = Cutting::default(),
    }
    /// Deviation loss.
    Loss {
        /// Score that anomalies are to exceed, in standard deviations of the prior.
        #[schemars(range(min = 0.0))]
        margin: f64 = 5.0,
        /// Draws of N(0, 1) whose mean and deviation stand for the prior, anew for each head and step; 0 = 0 and 1 exactly.
        #[schemars(range(max = 10_000_000))]
        prior_samples: usize = 5000,
    }
}

words! {
    /// How the learning rate falls over the epochs.
    Schedule {
        /// By `schedule_factor` every `schedule_every` epochs, one epoch early (the released code steps before the first one).
        Code,
        /// By `schedule_factor` every `schedule_every` epochs.
        Step,
        /// Not at all.
        Constant,
    }
}

tables! {
    /// Training.
    Train {
        /// Epochs.
        #[schemars(range(max = 100_000))]
        epochs: usize = 30,
        /// Steps of an epoch, however many images there are.
        #[schemars(range(min = 1))]
        steps: usize = 20,
        /// Multiply the steps by the number of classes that the model serves.
        steps_by_class: bool = false,
        /// Images of a step: two thirds drawn of the normal ones, one third of the seen anomalies.
        #[schemars(range(min = 2))]
        batch: usize = 48,
        /// Learning rate of Adam; the paper's text has 1e-3.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        lr: f64 = 2e-4,
        /// Weight decay, added to the gradient; the paper's text has 1e-2.
        #[schemars(range(min = 0.0))]
        weight_decay: f64 = 1e-5,
        /// Norm that all gradients together are cut to; 0 = they are not.
        #[schemars(range(min = 0.0))]
        clip: f64 = 1.0,
        /// How the learning rate falls over the epochs.
        schedule: Schedule = Schedule::Code,
        /// Epochs between two falls.
        #[schemars(range(min = 1))]
        schedule_every: usize = 10,
        /// What is left of the learning rate after a fall, as a share.
        #[schemars(range(min = 0.0, max = 1.0))]
        schedule_factor: f64 = 0.1,
    }
}

words! {
    /// Whether pixels are scored.
    Map {
        /// No, as published: pixel metrics are undefined.
        None,
        /// Yes, which is ours: the sum over scales of the maps of the three anomaly heads. Labels the run.
        Heads,
    }
}

tables! {
    /// From heads to image scores and maps.
    Score {
        /// Weights of the heads in an image's score: normality, seen, pseudo, residual.
        weights: [f64; 4] = [-1.0, 1.0, 1.0, 1.0],
        /// Whether pixels are scored.
        map: Map = Map::None,
        /// Standard deviation of the Gaussian on the map, in pixels of the evaluation size.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 4.0,
    }
}

impl Params {
    /// Whether the head for seen anomalies learns and is heard, where there are some or none.
    pub fn asks_seen(&self, seen: bool) -> bool {
        seen || self.network.seen == SeenHead::Always
    }
}

impl Train {
    /// The learning rate in an epoch (0-based).
    pub fn learning_rate(&self, epoch: usize) -> f64 {
        let falls = match self.schedule {
            Schedule::Code => (epoch + 1) / self.schedule_every,
            Schedule::Step => epoch / self.schedule_every,
            Schedule::Constant => 0,
        };
        self.lr * self.schedule_factor.powi(falls as i32)
    }

    /// How many of a step's images are drawn of the normal ones, and how many of the seen anomalies.
    pub fn shares(&self, seen: bool) -> (usize, usize) {
        let normal = if seen { 2 * self.batch / 3 } else { self.batch };
        (normal, self.batch - normal)
    }
}
