"""sonogrid: the whole grid backbone x init x modality x fold on multimodal ultrasound."""

__version__ = "0.1.0"
