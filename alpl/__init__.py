"""alpl: active learning and pseudo-labeling for detection and classification.

Read `alpl/loop.py` first: it is the whole framework on one page. The axis letters of every docstring:

    N images    I instances (detections over all N images; I = N in classification)    U unlabeled images
    C outputs of the head    K foreground classes    F features    V views    E epochs    B images of a batch
"""

__version__ = "0.1.0"
