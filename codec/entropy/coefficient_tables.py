# ruff: noqa: E501
"""What magnitudes of coefficients to expect: counted on recordings, and part of the format.

Written by tools/fit_coefficients.py. Of no model: a step is in units of what the base layer expects,
and so all models have about the same coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Weights:
    """What neighbors count, in 1/256. Magnitudes are in 1/64 in ``history``, whole elsewhere and
    then 64 times as much; "beside" is the sum of both sides."""

    bias: int
    history: int
    history_beside: int
    history_wide: int
    last: int
    last_beside: int
    now_beside: int
    now_further: int
    mid: int
    mid_beside: int


# fmt: off
WEIGHTS = (
    Weights(bias=2, history=55, history_beside=9, history_wide=6, last=27, last_beside=28, now_beside=0, now_further=0, mid=0, mid_beside=0),
    Weights(bias=1, history=55, history_beside=10, history_wide=2, last=17, last_beside=9, now_beside=46, now_further=9, mid=0, mid_beside=0),
    Weights(bias=0, history=75, history_beside=8, history_wide=1, last=38, last_beside=17, now_beside=0, now_further=0, mid=37, mid_beside=12),
    Weights(bias=0, history=67, history_beside=6, history_wide=0, last=33, last_beside=12, now_beside=25, now_further=1, mid=27, mid_beside=8),
)
"""Of even and odd coefficients, and then of those that see mid."""

THRESHOLDS = np.array([102, 142, 196, 271, 374, 518, 716, 990, 1369, 1893, 2618, 3620, 5006, 6923, 9573, 13238, 18306, 25314, 35005, 48407, 66938, 92564, 128000])
"""Between the rows of frequencies, in the units of the weighted sums."""

FREQUENCIES = np.array([
    [16733505, 42587, 849, 213, 37, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3],
    [16695554, 72473, 4779, 2106, 943, 348, 324, 200, 200, 76, 2, 52, 76, 2, 2, 77],
    [16571278, 197889, 6290, 788, 159, 316, 3, 316, 2, 2, 160, 2, 2, 2, 2, 3],
    [16460065, 308048, 6676, 1372, 173, 344, 345, 173, 2, 2, 3, 2, 2, 2, 2, 3],
    [16369237, 389365, 14149, 2536, 846, 425, 213, 3, 2, 2, 2, 2, 3, 2, 424, 3],
    [16232897, 522918, 17378, 2115, 1177, 706, 2, 3, 2, 2, 2, 3, 2, 2, 2, 3],
    [16053596, 686786, 28516, 4633, 977, 1221, 490, 245, 246, 3, 246, 2, 2, 2, 246, 3],
    [15911163, 822126, 36407, 5203, 1042, 626, 211, 2, 210, 2, 2, 3, 2, 2, 2, 211],
    [15619667, 1092869, 49547, 10335, 3446, 797, 267, 267, 3, 2, 2, 2, 3, 2, 2, 3],
    [15286183, 1393694, 76230, 12129, 3467, 2601, 579, 1157, 580, 291, 2, 3, 2, 2, 3, 291],
    [14896309, 1750490, 102333, 17368, 6414, 2140, 269, 804, 2, 269, 270, 269, 3, 269, 2, 3],
    [14176768, 2377117, 177468, 31064, 7605, 3477, 1305, 1306, 654, 219, 2, 2, 3, 219, 2, 3],
    [13249791, 3167185, 286165, 46339, 15835, 6056, 2097, 1399, 1167, 235, 701, 2, 2, 2, 2, 236],
    [11980850, 4123822, 509040, 108899, 31558, 12159, 4658, 1813, 1036, 520, 778, 520, 261, 260, 520, 520],
    [10557907, 4976062, 932717, 204692, 59521, 21731, 7874, 5041, 4096, 3465, 947, 632, 632, 1262, 2, 633],
    [8938182, 5563487, 1565328, 440948, 148378, 58352, 22093, 17089, 9171, 2920, 3336, 1669, 1669, 1670, 2, 2920],
    [7284727, 5676667, 2230389, 905590, 360486, 146437, 79393, 39992, 20585, 11176, 7647, 1767, 4706, 591, 590, 6471],
    [5581606, 5428375, 2749866, 1454046, 759416, 370015, 193340, 111935, 52735, 22209, 15731, 9255, 6479, 4628, 5552, 12026],
    [4238800, 4712134, 2878945, 1773134, 1176945, 772280, 461845, 271871, 183822, 98875, 60256, 46348, 27812, 26263, 12363, 35521],
    [3186098, 3781292, 2648123, 2006554, 1526088, 997687, 799806, 582197, 398516, 240279, 192211, 110265, 98940, 59377, 42415, 107366],
    [2091930, 3223630, 2362386, 1740012, 1545244, 1217323, 961646, 733788, 655876, 572448, 378015, 316848, 261253, 144602, 127898, 444315],
    [2142536, 2353299, 1878876, 1414642, 1222612, 869412, 899251, 697351, 555969, 596037, 464813, 283227, 313310, 202321, 252602, 2630956],
    [748183, 1434265, 924391, 949017, 668349, 973059, 819770, 819231, 691505, 512931, 563434, 410391, 359176, 358889, 587662, 5956961],
    [733618, 317305, 451258, 722991, 1132480, 442335, 989787, 437563, 435472, 21101, 294316, 567678, 291235, 564854, 563618, 8811603],
])
"""Of magnitudes 0 to 15 and more; each row is 2^24 - 2 in all."""

SPLIT_FREQUENCIES = np.array([
        [13396045, 2103375, 775803, 501991],
        [9032467, 4985334, 1306122, 1453291],
        [8388605, 3733657, 2569921, 2085031],
        [7088046, 3706594, 2666147, 3316427],
])
"""Of a frame's split, given the one before it; each row is 2^24 - 2 in all."""
# fmt: on
