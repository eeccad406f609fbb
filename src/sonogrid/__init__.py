"""sonogrid: the whole grid backbone x init x modality x seed x fold on multimodal ultrasound."""

__version__ = "0.2.0"
