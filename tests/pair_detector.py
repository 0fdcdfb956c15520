"""A small user of second views: an SSD whose detections in both views of an image are to agree."""

import torch
from torchvision.ops import box_iou

from alpl.boxes.box_coding import decode
from alpl.boxes.warped import warp_boxes
from alpl.modules.consistency import corners
from alpl.modules.ssd import SsdDetector

NUM_COMPARED = 5  # detections of an image


class PairSsd(SsdDetector):
    """What the first view shows most clearly, the second has to show where the warp moves it, unlabeled images too."""

    def training_step(self, batch, batch_idx):
        step = super().training_step(batch, batch_idx)
        return step | {"loss": step["loss"] + self.disagreement(batch)}

    def disagreement(self, batch):
        assert batch.second.shape == batch.images.shape and batch.warp.shape == (len(batch.images), 3, 3)
        side = batch.images.shape[-1]
        both = self.network(torch.cat([batch.images, batch.second]))
        probs = both.logits.softmax(-1)
        boxes = corners(decode(both.deltas.detach(), self.priors)) * side
        number, terms = len(batch.images), []
        for image, warp in enumerate(batch.warp):
            clearest = probs[image, :, 1:].amax(-1).topk(NUM_COMPARED).indices
            moved = warp_boxes(boxes[image, clearest], warp)
            partner = box_iou(moved, boxes[number + image]).argmax(1)
            terms.append((probs[image, clearest].detach() - probs[number + image, partner]).square().sum(-1).mean())
        return torch.stack(terms).mean()
