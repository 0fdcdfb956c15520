"""How what is seen in a frame of a video moves to the next one: optical flow, how it is estimated and read."""

from alpl.motion.base import AbstractMotion, Still
from alpl.motion.estimators import AbstractFlowEstimator, BlockMatching, RaftFlow
from alpl.motion.stored_flow import StoredFlow

__all__ = ["AbstractFlowEstimator", "AbstractMotion", "BlockMatching", "RaftFlow", "Still", "StoredFlow"]
