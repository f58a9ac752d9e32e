//! DM-GRD's parameters: every choice of the released code, and every choice that it leaves open, with its default
//! (docs/methods/dm_grd.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::augment::Synthesis;
use crate::methods::Select;
use crate::train::Keep;

tables! {
    /// DM-GRD (ACCV 2024).
    Params {
        /// Synthetic anomalies: training images, and the images of the abnormal memory.
        synthesis: SynthesisParams = SynthesisParams::default(),
        /// The two memories.
        memory: MemoryParams = MemoryParams::default(),
        /// How maps and what they are compared with become one.
        fusion: FusionParams = FusionParams::default(),
        /// Losses.
        loss: Loss = Loss::default(),
        /// Training.
        train: Train = Train::default(),
        /// From maps to scores.
        score: Score = Score::default(),
    }
}

words! {
    /// Which training images are synthetic anomalies.
    Order {
        /// Each by chance.
        Coin,
        /// Every second one (released code, with one worker).
        Alternate,
    }
}

tables! {
    /// Synthetic anomalies: training images, and the images of the abnormal memory.
    SynthesisParams {
        /// Dataset of the textures.
        dataset: String = "dtd".into(),
        /// How anomalies are made.
        anomaly: Synthesis = Synthesis::default(),
        /// `coin`: the chance that a training image becomes an anomaly; 0 = none does.
        #[schemars(range(min = 0.0, max = 1.0))]
        probability: f64 = 0.5,
        /// Which training images become anomalies.
        order: Order = Order::Coin,
    }
}

words! {
    /// Which image of a memory an image is compared with.
    Selection {
        /// The one with the least mean squared difference, summed up over levels (MemSeg).
        NearestL2,
        /// The one with the least cosine distance of whole maps, summed up over levels.
        NearestCos,
        /// The released code's: the number of the least column of a table whose columns are levels and ranks, not images. It
        /// is always the last rank of a level.
        Code,
    }
}

tables! {
    /// The two memories: maps of normal training images and of synthetic anomalies, made once.
    MemoryParams {
        /// Images of each class in a memory; all, where there are fewer.
        #[schemars(range(min = 1, max = 100_000))]
        size: usize = 30,
        /// Which image of a memory an image is compared with.
        select: Selection = Selection::NearestL2,
        /// Compare with the memory of normal images; without it the differences are 0.
        normal: bool = true,
        /// Compare with the memory of anomalies too, in training.
        abnormal: bool = true,
    }
}

words! {
    /// How maps and differences become maps of the teacher's width.
    FusionKind {
        /// Blocks with non-local attention, summed from coarse to fine, weighed by spatial attention.
        Msff,
        /// One 1 × 1 convolution for each level.
        Pointwise,
    }
}

tables! {
    /// How maps and what they are compared with become one.
    FusionParams {
        /// How.
        kind: FusionKind = FusionKind::Msff,
        /// Maps are divided by this before they are compared; ours, for teachers whose maps are wider than WideResNet50-2's.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        scale: f64 = 1.0,
    }
}

words! {
    /// What the student is to say of an anomaly.
    Target {
        /// What the teacher says of the anomaly.
        Same,
        /// What the teacher says of the image that it was made of.
        Clean,
    }
    /// The optimal transport between a batch's fused maps and the same maps in another order.
    Transport {
        /// None.
        Off,
        /// Sinkhorn's divergence (released code). It is 0 and has no gradient.
        Sinkhorn,
    }
    /// The margin between the memories.
    Triplet {
        /// None.
        Off,
        /// The released code's loss, which is made of the memories alone: it is recorded, and has no gradient.
        LogOnly,
        /// Ours: fused maps of a batch are to be nearer to those of another image than to those against the abnormal memory.
        OnMsff,
    }
}

tables! {
    /// Losses.
    Loss {
        /// What the student is to say of an anomaly.
        kd_target: Target = Target::Same,
        /// Weight of transport and contrast together.
        #[schemars(range(min = 0.0))]
        separation: f64 = 0.2,
        /// Weight of the contrast beside the transport.
        #[schemars(range(min = 0.0))]
        contrast: f64 = 0.1,
        /// Cosine of fused maps against both memories above which the contrast acts.
        #[schemars(range(min = -1.0, max = 1.0))]
        contrast_margin: f64 = 0.5,
        /// The optimal transport.
        ot: Transport = Transport::Off,
        /// The margin between the memories.
        triplet: Triplet = Triplet::Off,
        /// Weight of the triplet loss.
        #[schemars(range(min = 0.0))]
        triplet_weight: f64 = 0.1,
        /// Margin of the triplet loss.
        #[schemars(range(min = 0.0))]
        triplet_margin: f64 = 1.0,
    }
    /// Training.
    Train {
        /// Epochs.
        #[schemars(range(max = 100_000))]
        epochs: usize = 50,
        /// Steps of an epoch, however many images there are.
        #[schemars(range(min = 1))]
        steps: usize = 100,
        /// Images of a step.
        #[schemars(range(min = 2))]
        batch: usize = 8,
        /// Learning rate of Adam at the end of the warm-up.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        lr: f64 = 5e-3,
        /// Learning rate that the warm-up starts from and the cosine ends at.
        #[schemars(range(min = 0.0))]
        lr_min: f64 = 1e-4,
        /// Steps of the warm-up.
        #[schemars(range(max = 10_000_000))]
        warmup_steps: usize = 500,
        /// Which epoch is reported; the released code's way is `best_test`, by the mean of three metrics.
        select: Select = Select::Last,
        /// Keep the scores of every epoch, so that the record shows how the image AUROC went; `select` still chooses.
        curve: bool = false,
    }
    /// From maps to scores.
    Score {
        /// An image's score is the mean of so many largest pixels of its smoothed map; 1 = the largest one.
        #[schemars(range(min = 1, max = 1_000_000))]
        top_k: usize = 100,
        /// Standard deviation of the Gaussian on the map, in pixels.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 4.0,
    }
}

impl Train {
    /// Which epochs' parameters are kept.
    pub fn keep(&self) -> Keep {
        self.select.keep(self.curve)
    }

    /// The learning rate of a step (0-based, through all epochs): it rises in a line, then falls as a cosine.
    pub fn learning_rate(&self, step: usize) -> f64 {
        let height = self.lr - self.lr_min;
        if step < self.warmup_steps {
            return self.lr_min + height * step as f64 / self.warmup_steps as f64;
        }
        let falling = (self.epochs * self.steps).saturating_sub(self.warmup_steps).max(1);
        let angle = std::f64::consts::PI * (step - self.warmup_steps) as f64 / falling as f64;
        self.lr_min + height * (1.0 + angle.cos()) / 2.0
    }
}
