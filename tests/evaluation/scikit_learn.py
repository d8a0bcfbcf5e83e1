"""Writes scikit_learn.json beside it: scores with the average precision and AUC that
scikit-learn 1.9.1 (NumPy 2.4.6) gives them. Run in this folder: python scikit_learn.py
"""
import json

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

r = np.random.RandomState(20231)
n = r.standard_normal
cases = {
    "logits": (n(60) + 1, n(90)),
    "logits rounded to f16, where some tie": (np.float16(n(80)), np.float16(n(80))),
    "one decimal, where most tie": (np.round(n(70) + 0.5, 1), np.round(n(70), 1)),
    "three values": (r.randint(0, 3, 50), r.randint(0, 3, 40)),
    "EdgeBank: zeros and ones": (r.randint(0, 10, 60) < 7, r.randint(0, 10, 60) < 2),
    "one positive among many": (n(1) + 1, n(99)),
    "many positives, one negative": (n(50), n(1)),
    "a constant scorer": (np.full(20, 0.25), np.full(30, 0.25)),
}
recorded = []
for name, (pos, neg) in cases.items():
    pos, neg = np.float32(pos), np.float32(neg)
    y, s = np.r_[np.ones(len(pos)), np.zeros(len(neg))], np.r_[pos, neg]
    recorded.append({
        "name": name,
        "positive": [float(x) for x in pos],
        "negative": [float(x) for x in neg],
        "average_precision": float(average_precision_score(y, s)),
        "roc_auc": float(roc_auc_score(y, s)),
    })
with open("scikit_learn.json", "w") as file:
    json.dump(recorded, file)
