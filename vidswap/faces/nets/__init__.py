"""The nets that find faces, their landmarks and people, one file each, with their weights beside.

Google published them in the MediaPipe project (Apache-2.0); `pipelines/fitting/face_nets.py`
converts its files. Inputs are (B, 3, H, W) RGB; every net computes in float32.
"""
